//! A mail server of the test's own, also one with bad manners.

use std::time::Instant;

use super::servers::{ENDLESS, HANG, Smtp};
use super::*;

fn email(scheme: &str, server: &Smtp, more: &str) -> Settings {
    let at = server.at();
    settings(&format!(
        "[alert.email]\nfrom = \"a@b.org\"\nto = [\"c@d.org\", \"e@f.org\"]\nserver = \"{scheme}://{at}\"\n{more}"
    ))
}

#[test]
fn a_mail_is_delivered_after_a_login() {
    let dir = Dir::new();
    let login = format!("user = \"user\"\npassword_file = \"{}\"", dir.token());
    for (auth, words) in [("LOGIN PLAIN", 1), ("LOGIN", 3)] {
        let server = Smtp::usual(auth);
        send(&email("smtp", &server, &login), &alert("x\r\n.\r\nMAIL FROM:<evil@e.org>\r\n")).unwrap();
        let lines = server.lines();
        let commands: Vec<&str> = lines.iter().map(String::as_str).take_while(|line| *line != "DATA").collect();
        assert_eq!(commands[0], "EHLO [127.0.0.1]");
        assert_eq!(commands[1 + words..], ["MAIL FROM:<a@b.org>", "RCPT TO:<c@d.org>", "RCPT TO:<e@f.org>"]);
        assert_eq!(lines.iter().filter(|line| *line == ".").count(), 1);
        assert_eq!(lines.iter().filter(|line| line.starts_with("MAIL")).count(), 1, "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("Subject: [")), "{lines:?}");
        assert!(lines.iter().any(|line| line == "Auto-Submitted: auto-generated"), "{lines:?}");
    }
}

#[test]
fn without_encryption_nothing_is_said_where_it_was_asked_for() {
    let dir = Dir::new();
    let login = format!("user = \"user\"\npassword_file = \"{}\"", dir.token());
    let hello = "250-box\r\n250 AUTH PLAIN\r\n";
    // The offer was taken out; it is refused; it is granted, with words for after the encryption already there.
    for (answers, why) in [
        (vec![("EHLO", hello)], "offers no STARTTLS"),
        (vec![("EHLO", "250-box\r\n250 STARTTLS\r\n"), ("STARTTLS", "454 no\r\n")], "answered 454 to STARTTLS"),
        (vec![("EHLO", "250-box\r\n250 STARTTLS\r\n"), ("STARTTLS", "220 go\r\n250 AUTH PLAIN\r\n")], "out of turn"),
        (vec![("EHLO", "250-box\r\n250 STARTTLS\r\n"), ("STARTTLS", "220 go\r\n")], ""),
    ] {
        let server = Smtp::new("220 hello\r\n", &answers);
        let error = send(&email("starttls", &server, &login), &alert("x")).unwrap_err();
        assert!(error.to_string().contains(why), "{why}: {error}");
        let told = server.lines().join("\n");
        assert!(!told.contains("AUTH") && !told.contains("MAIL") && !told.contains("dGst"), "{told}");
    }
}

#[test]
fn a_server_of_mail_that_is_slow_or_endless_is_given_up() {
    for (greeting, hello) in [
        (HANG.to_owned(), "250 x\r\n".to_owned()),
        ("220 x\r\n".to_owned(), HANG.to_owned()),
        (format!("{ENDLESS}220 |aaaaaaaaaaaaaaaa"), String::new()),
        (format!("{ENDLESS}|220-aaaaaaaaaaaa\r\n"), String::new()),
        ("220 x\r\n".to_owned(), format!("{ENDLESS}|250-aaaaaaaaaaaa\r\n")),
        ("220 x\r\n".to_owned(), "250 x\r\n250 y\r\n".to_owned()),
        ("SSH-2.0-x\r\n".to_owned(), String::new()),
        ("554 go away\r\n".to_owned(), String::new()),
    ] {
        let begun = Instant::now();
        let server = Smtp::new(&greeting, &[("EHLO", &hello)]);
        let mut settings = email("smtp", &server, "");
        settings.pace.timeout = Duration::from_millis(500);
        let error = send(&settings, &alert("x")).unwrap_err();
        assert!(begun.elapsed().as_secs() < 20, "{greeting} {hello}: {error}");
        assert!(!error.to_string().contains("aaaa"), "{error}");
    }
}

#[test]
fn a_server_that_drips_does_not_stretch_the_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::Write as _;
        let (mut socket, _) = listener.accept().unwrap();
        while socket.write_all(b"2").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let section = format!("[alert.email]\nfrom = \"a@b.org\"\nto = [\"c@d.org\"]\nserver = \"smtp://{at}\"");
    let begun = Instant::now();
    let error = send(&hasty(&section), &alert("x")).unwrap_err();
    assert!(matches!(error, SendError::Timeout(_)) && begun.elapsed().as_secs() < 20, "{error}");
}
