//! Rules that would allow what nobody means: such a policy is not taken, and nothing starts.

use super::{Jails, Suite};

/// What is written, and a word of the reason.
const POLICIES: &[(&str, &str)] = &[
    ("8 everything", "allow = [\"*\"]"),
    ("8 everything below a registry", "allow = [\"*.com\"]"),
    ("8 everything below a registry of two labels", "allow = [\"*.co.uk\"]"),
    ("8 everything that strangers register", "allow = [\"*.github.io\"]"),
    ("9 a star that is no label", "allow = [\"*evil.com\"]"),
    ("9 a star in a label", "allow = [\"ex*mple.com\"]"),
    ("9 a star at the end", "allow = [\"foo.*\"]"),
    ("9 a star in the middle", "allow = [\"a.*.com\"]"),
    ("7 a star over numbers", "allow = [\"*.1\"]"),
    ("28 an address", "allow = [\"9.9.9.9:443\"]"),
    ("29 a number", "allow = [\"2130706433:80\"]"),
    ("31 a hexadecimal number", "allow = [\"0x7f.1:80\"]"),
    ("58 a range", "local = [{ name = \"all.host\", to = \"127.0.0.0/8\" }]"),
    ("58 the metadata service", "local = [{ name = \"meta.host\", to = \"169.254.169.254:80\" }]"),
    ("58 no address", "local = [{ name = \"zero.host\", to = \"0.0.0.0:80\" }]"),
];

pub(super) fn run<J: Jails>(suite: &Suite<'_>, jails: &J) {
    for (id, egress) in POLICIES {
        suite.begin(id);
        let why = jails.refusal(egress);
        suite.expect(why.is_some(), || format!("{id} is taken"));
        suite.nothing_left(id);
    }
    // The twin, which is the control as well: what can start does start.
    for egress in ["allow = [\"*.wild.test\"]", "local = [{ name = \"one.host\", to = \"127.0.0.1:8099\" }]"] {
        assert_eq!(jails.refusal(egress), None, "{egress}");
    }
    suite.nothing_left("policies");
}
