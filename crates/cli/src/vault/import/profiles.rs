//! Auth profiles in OpenClaw's databases: which hold a key in the clear, and the edits that put a SecretRef there.

use std::path::{Path, PathBuf};

use mantlet_change::{Op, Row};
use mantlet_clients::openclaw::{HELD_TABLES, PROFILE_FIELDS, PROFILE_STORES, ProfileStore};
use mantlet_vault::Secret;
use serde_json::Value;

use super::site::Site;
use super::sqlite::Database;
use super::survey::set;

/// The profiles of one database.
pub(super) struct Store {
    pub(super) database: PathBuf,
    pub(super) row: Row,
    /// Whose they are: `shared`, or an agent's.
    pub(super) owner: String,
    pub(super) profiles: Vec<Profile>,
    /// What else it holds that no SecretRef can stand for.
    pub(super) held: Vec<(String, String)>,
}

/// One profile with a key in the clear.
pub(super) struct Profile {
    pub(super) id: String,
    pub(super) provider: String,
    pub(super) value: Secret,
    field: &'static str,
    reference: &'static str,
}

/// Reads all databases.
pub(super) fn stores(site: &Site) -> anyhow::Result<Vec<Store>> {
    let mut stores = Vec::new();
    for store in PROFILE_STORES {
        for database in Site::matching(&site.state, store.database) {
            stores.push(read(store, &database)?);
        }
    }
    Ok(stores)
}

fn read(store: &ProfileStore, path: &Path) -> anyhow::Result<Store> {
    let database = Database::look(path)?;
    let (key_column, key) = store.row;
    let row = Row {
        table: store.table.into(),
        key_column: key_column.into(),
        key: key.into(),
        text_column: store.text.into(),
    };
    let text: Value = match database.text(&row)? {
        Some(text) => serde_json::from_str(&text)?,
        None => Value::Null,
    };
    let agent = path.ancestors().nth(2).and_then(Path::file_name);
    let owner = match store.database.contains('*') {
        true => agent.map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        false => "shared".into(),
    };
    let (mut profiles, mut held) = (Vec::new(), Vec::new());
    for (id, profile) in text["profiles"].as_object().into_iter().flatten() {
        let said = |name: &str| profile[name].as_str().unwrap_or_default();
        let field = PROFILE_FIELDS.iter().find(|(kind, ..)| *kind == said("type"));
        match field {
            // `${NAME}` is a reference by itself.
            Some((_, field, reference)) if !said(field).is_empty() && !said(field).starts_with('$') => {
                let (id, provider) = (id.clone(), said("provider").to_owned());
                profiles.push(Profile { id, provider, value: Secret::from(said(field)), field, reference });
            }
            Some(_) => {}
            None if said("type") == "oauth" => {
                held.push((
                    format!("profiles.{id}"),
                    "OpenClaw renews these tokens itself, and stores them anew".into(),
                ));
            }
            None => {}
        }
    }
    for (name, why) in HELD_TABLES {
        let count = database.count(name)?;
        if count > 0 {
            held.push((format!("{name} ({count})"), (*why).into()));
        }
    }
    Ok(Store { database: path.into(), row, owner, profiles, held })
}

impl Profile {
    /// Where it stands.
    pub(super) fn key(&self) -> String {
        format!("profiles.{}.{}", self.id, self.field)
    }

    /// The name that its value gets.
    pub(super) fn name(&self, owner: &str) -> String {
        format!("profiles/{owner}/{}/{}", self.id.replace('/', "-"), self.field)
    }

    /// Puts a SecretRef beside the key, and takes the key out, as OpenClaw's own `secrets apply` does.
    pub(super) fn edits(&self, reference: Value) -> [Op; 2] {
        let path = |field: &str| vec!["profiles".to_owned(), self.id.clone(), field.to_owned()];
        [set(&path(self.reference), reference), Op::Remove { path: path(self.field) }]
    }
}
