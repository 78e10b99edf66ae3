//! Scripts as data: one test for each, by [`super::same_inside`].

macro_rules! stories {
    ($($name:ident, $files:ident, $script:expr;)*) => {
        $(#[test]
        fn $name() {
            common::same_inside(stringify!($name), common::Files::$files, $script);
        })*
    };
}
