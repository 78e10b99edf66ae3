//! What a jailed command finds of its caller: environment variables, and the files that name its account.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use mantlet_policy::Agent;

use super::{Owner, Place, Refusal, WholePlan};
use crate::ids::{Ids, Mapping};
use crate::layout;
use crate::request::Request;
use crate::whole::BIN;

/// Built from nothing: the names every program needs, the policy's, and the caller's `--env`.
pub(super) fn environment(
    request: &Request,
    agent: &Agent,
    owner: &Owner,
    ids: Ids,
    places: &[Place],
    whole: Option<&WholePlan>,
) -> Result<(Vec<CString>, Vec<u8>), Refusal> {
    let from_caller = |name: &str| std::env::var_os(name);
    let user = user_name(owner, ids);
    let mut vars: Vec<(OsString, OsString)> = vec![
        ("HOME".into(), owner.home.clone().into_os_string()),
        ("USER".into(), user.clone().into()),
        ("LOGNAME".into(), user.into()),
        ("PATH".into(), search_path(places, from_caller("PATH"), whole.is_some())),
        ("LANG".into(), from_caller("LANG").unwrap_or_else(|| "C.UTF-8".into())),
        ("TERM".into(), from_caller("TERM").unwrap_or_else(|| "dumb".into())),
        ("SHELL".into(), "/bin/sh".into()),
    ];
    vars.extend(from_caller("TZ").map(|tz| ("TZ".into(), tz)));
    let passed = agent.env().pass().iter().filter_map(|n| Some((OsString::from(n), from_caller(n)?)));
    let set = agent.env().set().iter().map(|(n, v)| (OsString::from(n), OsString::from(v)));
    let preset = whole.map_or(&[][..], |whole| whole.env.as_slice()).iter().cloned();
    for (name, value) in preset.chain(passed).chain(set).chain(request.env.iter().cloned()) {
        vars.retain(|(n, _)| *n != name);
        vars.push((name, value));
    }
    let path = vars.iter().find(|(n, _)| n == "PATH").map_or_else(Vec::new, |(_, v)| v.as_bytes().to_vec());
    let env = vars.into_iter().map(|(mut line, value)| {
        line.push("=");
        line.push(value);
        CString::new(line.into_vec()).map_err(|_| Refusal::new("an environment value contains a NUL byte"))
    });
    Ok((env.collect::<Result<_, _>>()?, path))
}

/// The system's directories, and behind them those of the caller's own PATH that the jail shows something of:
/// a program that the policy opens is found by its name, and hides none of the system's.
fn search_path(places: &[Place], callers: Option<OsString>, is_whole: bool) -> OsString {
    let mut path = OsString::new();
    if is_whole {
        // What the owner's PATH found for the agent, and nothing else.
        path.push(BIN);
        path.push(":");
    }
    path.push(layout::PATH);
    let is_shown = |dir: &PathBuf| {
        dir.is_absolute() && places.iter().any(|p| p.target.starts_with(dir) || dir.starts_with(&p.target))
    };
    let known: Vec<PathBuf> = std::env::split_paths(layout::PATH).collect();
    for dir in callers.iter().flat_map(std::env::split_paths).filter(|dir| is_shown(dir) && !known.contains(dir)) {
        path.push(":");
        path.push(dir);
    }
    path
}

fn user_name(owner: &Owner, ids: Ids) -> String {
    match ids.mapping {
        Mapping::Caller => owner.name.clone(),
        Mapping::Owner => account(ids.uid).unwrap_or_else(|| "agent".into()),
        Mapping::Idmapped => "agent".into(),
    }
}

/// The name of a uid in /etc/passwd. Other sources (LDAP) are not asked: the name is only shown.
pub(crate) fn account(uid: u32) -> Option<String> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    let wanted = uid.to_string();
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == wanted).then(|| name.to_owned())
    })
}

/// The files of /etc that are made rather than bound: they name only the jail.
pub(super) fn etc_files(owner: &Owner, ids: Ids, has_way_out: bool) -> Vec<(PathBuf, Vec<u8>)> {
    let user = user_name(owner, ids);
    let Ids { uid, gid, .. } = ids;
    let home = owner.home.to_string_lossy();
    let passwd = format!(
        "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n{user}:x:{uid}:{gid}::{home}:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    );
    let group = format!("root:x:0:\n{user}:x:{gid}:\nnogroup:x:65534:\n");
    let resolver = match has_way_out {
        // Everything that is not allowed is answered at once: there is nothing to search for, and nobody else to ask.
        true => "nameserver 127.0.0.1\noptions timeout:10 attempts:1\n",
        false => "# no name server: this jail has no way out\n",
    };
    let hosts = "127.0.0.1 localhost mantlet\n::1 localhost ip6-localhost ip6-loopback\n";
    let files: [String; 6] = [
        passwd,
        group,
        hosts.into(),
        "mantlet\n".into(),
        resolver.into(),
        "passwd: files\ngroup: files\nhosts: files dns\n".into(),
    ];
    layout::MADE_ETC.iter().zip(files).map(|(path, text)| (PathBuf::from(path), text.into_bytes())).collect()
}
