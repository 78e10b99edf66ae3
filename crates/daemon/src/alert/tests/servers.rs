//! Servers of the tests: they say what they were told to, and keep what they heard.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// An answer that is none: the connection stays open and silent.
pub(super) const HANG: &str = "hang";
/// An answer whose last part is repeated without an end.
pub(super) const ENDLESS: &str = "endless:";

/// A server of HTTP that answers one request after the other, the last answer again and again.
pub(super) struct Http {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Http {
    pub(super) fn new(answers: &[&str]) -> Http {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let mut answers: Vec<String> = answers.iter().rev().map(|answer| (*answer).to_owned()).collect();
        let keep = Arc::clone(&heard);
        thread::spawn(move || {
            for socket in listener.incoming() {
                let answer = if answers.len() > 1 { answers.pop() } else { answers.last().cloned() };
                let keep = Arc::clone(&keep);
                thread::spawn(move || serve(socket.unwrap(), &answer.unwrap(), &keep));
            }
        });
        Http { port, heard }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

fn serve(socket: TcpStream, answer: &str, keep: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    keep.lock().unwrap().push(head + &String::from_utf8(body).unwrap());
    say(socket, answer);
}

fn say(mut socket: TcpStream, answer: &str) {
    match answer.strip_prefix(ENDLESS) {
        _ if answer == HANG => thread::sleep(Duration::from_secs(30)),
        None => drop(socket.write_all(answer.as_bytes())),
        Some(rest) => {
            let (begin, again) = rest.split_once('|').unwrap();
            let mut sent = socket.write_all(begin.as_bytes());
            while sent.is_ok() {
                sent = socket.write_all(again.repeat(64).as_bytes());
            }
        }
    }
}

/// A server of SMTP for one connection: for each line it hears, the answer of the first rule whose beginning fits.
pub(super) struct Smtp {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Smtp {
    pub(super) fn new(greeting: &str, rules: &[(&str, &str)]) -> Smtp {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let greeting = greeting.to_owned();
        let rules: Vec<(String, String)> = rules.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let keep = Arc::clone(&heard);
        thread::spawn(move || {
            for socket in listener.incoming() {
                converse(socket.unwrap(), &greeting, &rules, &keep);
            }
        });
        Smtp { port, heard }
    }

    /// One that takes a message, after a login.
    pub(super) fn usual(auth: &str) -> Smtp {
        Smtp::new(
            "220 hello\r\n",
            &[
                ("EHLO", &format!("250-box\r\n250-8BITMIME\r\n250 AUTH {auth}\r\n")),
                ("AUTH PLAIN", "235 yes\r\n"),
                ("AUTH LOGIN", "334 VXNlcm5hbWU6\r\n"),
                ("dXNlcg==", "334 UGFzc3dvcmQ6\r\n"),
                ("dGst", "235 yes\r\n"),
                ("MAIL", "250 yes\r\n"),
                ("RCPT", "250 yes\r\n"),
                ("DATA", "354 go\r\n"),
                (".", "250 kept\r\n"),
                ("QUIT", "221 bye\r\n"),
            ],
        )
    }

    pub(super) fn at(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

fn converse(socket: TcpStream, greeting: &str, rules: &[(String, String)], keep: &Mutex<Vec<String>>) {
    say(socket.try_clone().unwrap(), greeting);
    let mut is_data = false;
    for line in BufReader::new(socket.try_clone().unwrap()).lines() {
        let Ok(line) = line else { return };
        keep.lock().unwrap().push(line.clone());
        if is_data && line != "." {
            continue;
        }
        is_data = line == "DATA";
        let answer = rules.iter().find(|(begin, _)| line.starts_with(begin)).map(|(_, answer)| answer.as_str());
        say(socket.try_clone().unwrap(), answer.unwrap_or("500 what\r\n"));
    }
}
