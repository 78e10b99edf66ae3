//! What is masked, what is left alone, and that no input makes the scan slow.

use super::*;

/// Tokens are put together at run time: a literal one here would set off other people's scanners.
fn sample(id: &str) -> String {
    let body = "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17";
    let long = body.repeat(3);
    match id {
        "github-token" => format!("ghp_{body}"),
        "github-app-token" => format!("ghs_12345_eyJ{body}.eyJ{body}.{body}"),
        "github-pat" => format!("github_pat_{}_{}", &long[..22], &long[..59]),
        "npm-token" => format!("npm_{body}"),
        "stripe-key" => format!("sk_live_{}", &long[..24]),
        "slack-token" => format!("xoxb-123456789012-123456789012-{}", &long[..24]),
        "slack-webhook" => format!("hooks.slack.com/services/T00000000/B00000000/{}", &long[..24]),
        "aws-access-key" => format!("AKIA{}", "IOSFODNN7EXAMPLE"),
        "anthropic-key" => format!("sk-ant-api03-{}-AA", &long[..93]),
        "openai-key" => format!("sk-proj-{}", &long[..74]),
        "sk-key" => format!("sk-{}", &long[..48]),
        "google-api-key" => format!("AIza{}", &body[..35]),
        "age-secret-key" => format!("AGE-SECRET-KEY-1{}", "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L".repeat(2).split_at(58).0),
        "telegram-bot-token" => format!("123456789:{}", &body[..35]),
        "jwt" => format!("eyJ{body}.eyJ{body}.{body}"),
        "private-key" => format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----"),
        other => panic!("no sample for {other}"),
    }
}

#[test]
fn every_format_is_found_wherever_it_stands() {
    for format in FORMATS {
        let token = sample(format.id);
        for text in [
            token.clone(),
            format!("echo {token} | cat"),
            format!("echo '{token}'"),
            format!("printf \"a\\n{token}\\n\""),
            format!("x={token};y=1"),
            format!("curl https://api.example/?k={token}&z=1"),
            format!("über {token} ünd"),
        ] {
            let found = findings(text.as_bytes());
            assert!(found.iter().any(|f| f.kind == format.id), "{} in {text}: {found:?}", format.id);
            let masked = mask(&text);
            assert!(!masked.contains("cVY5ncnsDkxk") && !masked.contains("FODNN7"), "{masked}");
        }
    }
}

#[test]
fn formats_are_not_found_inside_words() {
    let body = "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17";
    for text in [
        format!("disk-{body}"),
        format!("xAKIA{}", "IOSFODNN7EXAMPLE"),
        format!("AKIA{}x", "IOSFODNN7EXAMPLE"),
        format!("npm_{body}x"),
        "ghp_short".to_owned(),
        "npm_config_registry=https://r.example".to_owned(),
        "eyJhbGciOi.notjson.x".to_owned(),
        "12:34:56 2026-01-01T10:00:00Z".to_owned(),
    ] {
        assert_eq!(mask(&text), text);
    }
}

#[test]
fn the_checksum_tells_a_token_from_an_example() {
    let found = findings(sample("github-token").as_bytes());
    assert_eq!(found[0].checksum, Checksum::Valid);
    let found = findings(sample("github-token").replace("17", "18").as_bytes());
    assert_eq!(found[0].checksum, Checksum::Invalid);
}

const NAMED: &[(&str, &str)] = &[
    ("DB_PASSWORD=hunter2 ./run", "DB_PASSWORD=[masked:named-secret] ./run"),
    ("export API_TOKEN='a b'; x", "export API_TOKEN='[masked:named-secret]'; x"),
    ("TOKEN=\"a\\\"b\" x", "TOKEN=\"[masked:named-secret]\" x"),
    ("TOKEN=a\"b c\"'d' x", "TOKEN=[masked:named-secret] x"),
    ("x --password hunter2 -v", "x --password [masked:named-secret] -v"),
    ("x --password=hunter2 -v", "x --password=[masked:named-secret] -v"),
    ("x -token hunter2", "x -token [masked:named-secret]"),
    ("x --password 'a b' y", "x --password '[masked:named-secret]' y"),
    ("curl -H 'Authorization: Bearer abcdef' u", "curl -H 'Authorization: Bearer [masked:authorization]' u"),
    ("curl -H \"Authorization: Basic dTpw\" u", "curl -H \"Authorization: Basic [masked:authorization]\" u"),
    ("curl -H 'authorization: abcdef' u", "curl -H 'authorization: [masked:authorization]' u"),
    ("curl -H 'X-Api-Key: abcdef' u", "curl -H 'X-Api-Key: [masked:named-secret]' u"),
    ("curl -H 'Cookie: a=b; c=d' u", "curl -H 'Cookie: [masked:cookie]' u"),
    ("say Bearer abcdefghijklmnop", "say Bearer [masked:authorization]"),
    ("curl -d '{\"password\": \"a b\", \"n\": 1}'", "curl -d '{\"password\": \"[masked:named-secret]\", \"n\": 1}'"),
    ("curl -d \"{\\\"secret\\\":\\\"ab\\\"}\"", "curl -d \"{\\\"secret\\\":\\\"[masked:named-secret]\\\"}\""),
    ("curl 'https://x/?access_token=abc&b=1'", "curl 'https://x/?access_token=[masked:named-secret]&b=1'"),
    ("curl -u me:pw https://x", "curl -u me:[masked:named-secret] https://x"),
    ("psql postgres://u:p%40w@h/db", "psql postgres://u:[masked:url-password]@h/db"),
    ("sshpass -p pw ssh h", "sshpass -p [masked:named-secret] ssh h"),
    ("mysql -uroot -ppw db", "mysql -uroot -p[masked:named-secret] db"),
    ("set -gx MY_SECRET abc; x", "set -gx MY_SECRET [masked:named-secret]; x"),
    ("aws configure set aws_secret_access_key abc", "aws configure set aws_secret_access_key [masked:named-secret]"),
    ("OPENAI_KEY=abcdefgh1 x", "OPENAI_KEY=[masked:named-secret] x"),
    ("TOKEN=${TOKEN:-abc} x", "TOKEN=[masked:named-secret] x"),
    ("echo don't; PASSWORD='abc def'", "echo don't; PASSWORD='[masked:named-secret]'"),
    ("PASSWORD=pässword x", "PASSWORD=[masked:named-secret] x"),
];

#[test]
fn named_values_are_masked_and_their_names_kept() {
    for (text, masked) in NAMED {
        assert_eq!(mask(text), *masked, "in {text}");
        assert_eq!(mask(masked), *masked, "twice: {text}");
    }
}

#[test]
fn a_named_format_keeps_its_own_word() {
    let text = format!("GITHUB_TOKEN={}", sample("github-token"));
    assert_eq!(mask(&text), "GITHUB_TOKEN=[masked:github-token]");
    let text = format!("GITHUB_TOKEN={}:more", sample("github-token"));
    assert_eq!(mask(&text), "GITHUB_TOKEN=[masked:named-secret]");
}

#[test]
fn ordinary_commands_are_not_changed() {
    for text in [
        "git status",
        "PWD=/tmp OLDPWD=/ ls",
        "curl -H \"Authorization: Bearer $TOKEN\" https://x",
        "PASSWORD=$(cat f) x",
        "PASSWORD=\"$OTHER\" x",
        "docker login --password-stdin",
        "psql --no-password db",
        "rsync -u host:path dest",
        "docker run -u 1000:1000 img",
        "git clone ssh://git@github.com/a/b && cd b",
        "git config credential.helper store",
        "x --max-tokens 100 --tokenizer bpe",
        "SSH_KEY=/home/u/.ssh/id x",
        "echo 'a: b' > y.yaml; for i in 1 2; do echo $i; done",
        "sed -n 's/-----BEGIN CERTIFICATE-----//p' f",
        "",
    ] {
        assert!(matches!(mask(text), Cow::Borrowed(_)), "{text} became {}", mask(text));
    }
}

#[test]
fn an_unclosed_key_block_is_masked_to_the_end() {
    let masked = mask("echo '-----BEGIN PRIVATE KEY-----\nMIIE");
    assert_eq!(masked, "echo '-----BEGIN PRIVATE KEY-----[masked:private-key]");
}

#[test]
fn the_scan_looks_at_every_first_letter_of_the_table() {
    for format in FORMATS {
        if let Shape::Prefixed { prefixes, .. } = format.shape {
            for prefix in prefixes {
                let text = format!("{prefix}{}", "A".repeat(58));
                let exact = [16, 35, 36, 58].map(|n| format!("{prefix}{}", "A".repeat(n)));
                let is_found = std::iter::once(&text).chain(&exact).any(|t| !findings(t.as_bytes()).is_empty());
                assert!(is_found, "{prefix} is in the table and never found");
            }
        }
    }
}

#[test]
fn hostile_text_stays_linear() {
    for unit in [
        "eyJ-",
        "-eyJa.",
        "ghs_",
        "sk-",
        "a://b@",
        "--password ",
        "x=",
        "TOKEN=\"",
        "-----BEGIN PRIVATE KEY",
        "set - ",
        "curl -u ",
        "mysql -p ",
        "\\\"",
        "'\"",
        "1:",
        "AKIA",
        "bearer ",
        "TOKEN=${",
        "password:\\",
    ] {
        let text = unit.repeat((1 << 18) / unit.len());
        let start = std::time::Instant::now();
        std::hint::black_box(findings(text.as_bytes()));
        // Unoptimised builds on a busy machine: a quadratic scan of this takes minutes.
        assert!(start.elapsed().as_secs() < 10, "{unit:?} took {:?}", start.elapsed());
    }
}

#[test]
fn random_bytes_never_panic_and_spans_are_ordered() {
    let alphabet = b"ab=:\"'\\ -$sk{}()@/.:ghp_eyJ1password\n\xff\xc3";
    let mut state = 1u64;
    for _ in 0..20_000 {
        let text: Vec<u8> = (0..40)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                alphabet[(state >> 33) as usize % alphabet.len()]
            })
            .collect();
        let mut last = 0;
        for finding in findings(&text) {
            assert!(finding.span.start >= last && finding.span.end <= text.len(), "{text:?}");
            last = finding.span.end;
        }
        let lossy = String::from_utf8_lossy(&text);
        let masked = mask(&lossy);
        assert!(findings(lossy.as_bytes()).is_empty() || masked.contains("[masked:"));
    }
}
