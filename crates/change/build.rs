//! Lists the files of the OpenClaw plugin, so that the program carries all of them and a new one is not forgotten.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let plugin = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../integrations/openclaw").canonicalize()?;
    let sources = plugin.join("src");
    let mut names = vec!["package.json".to_owned(), "openclaw.plugin.json".to_owned()];
    for entry in fs::read_dir(&sources)? {
        names.push(format!("src/{}", entry?.file_name().to_string_lossy()));
    }
    // `.d.ts` files are for the type checker.
    names.retain(|name| !name.ends_with(".d.ts"));
    names.sort();
    let mut table = String::from("&[\n");
    for name in names {
        let path = plugin.join(&name);
        writeln!(table, "    ({name:?}, include_str!({:?})),", path.to_string_lossy())?;
        println!("cargo::rerun-if-changed={}", path.display());
    }
    table.push(']');
    println!("cargo::rerun-if-changed={}", sources.display());
    fs::write(Path::new(&env::var("OUT_DIR")?).join("openclaw.rs"), table)?;
    Ok(())
}
