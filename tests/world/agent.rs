//! This side of the attacker: starts the program that attacks (`agent.py`), tells it what to do, and hears what came of it.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const SCRIPT: &str = include_str!("agent.py");

/// What came of it: what was said, or why nothing was.
pub(crate) type Answer = Result<Vec<u8>, String>;

type Waiting = Arc<Mutex<HashMap<u64, Sender<Answer>>>>;

/// A running attacker.
pub(crate) struct Agent {
    child: Child,
    into: Mutex<(u64, Option<ChildStdin>)>,
    waiting: Waiting,
}

impl Agent {
    /// Starts it with a command that takes a program and its arguments at its end.
    pub(crate) fn start(command: &mut Command) -> Self {
        command.args(["/usr/bin/python3", "-ISB", "-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next();
        assert!(
            matches!(&first, Some(Ok(line)) if line.starts_with("ready ")),
            "{:?}: {first:?}",
            command.get_program()
        );
        let waiting = Waiting::default();
        let heard = Arc::clone(&waiting);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let words: Vec<&str> = line.split(' ').collect();
                let said = unhex(words[2]);
                let answer = match words[1] {
                    "ok" => Ok(said),
                    _ => Err(String::from_utf8_lossy(&said).into_owned()),
                };
                let waiter = heard.lock().unwrap().remove(&words[0].parse().unwrap());
                // Who asked may have stopped waiting.
                let _gone = waiter.unwrap().send(answer);
            }
            // Whoever still waits hears that nobody will answer.
            heard.lock().unwrap_or_else(PoisonError::into_inner).clear();
        });
        let into = Mutex::new((0, child.stdin.take()));
        Agent { child, into, waiting }
    }

    /// Says what to do; the answer comes in its own time.
    pub(crate) fn begin(&self, words: &[&str]) -> Receiver<Answer> {
        let (sender, receiver) = channel();
        let mut into = self.into.lock().unwrap();
        into.0 += 1;
        self.waiting.lock().unwrap().insert(into.0, sender);
        let line = format!("{} {}\n", into.0, words.join(" "));
        into.1.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        receiver
    }

    /// Does something and waits for what comes of it.
    pub(crate) fn ask(&self, words: &[&str]) -> Answer {
        let answer = self.begin(words).recv_timeout(Duration::from_secs(40));
        answer.unwrap_or_else(|_| panic!("the agent does not answer to {words:?}"))
    }

    /// Sends bytes to an address and takes everything that comes back.
    pub(crate) fn talk(&self, to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
        let words = ["talk", &to.ip().to_string(), &to.port().to_string(), &hex(bytes), "700"];
        self.ask(&words).unwrap_or_else(|why| format!("({why})").into_bytes())
    }

    /// The same, without waiting; of what never ends, less is taken.
    pub(crate) fn begin_to_talk(&self, to: SocketAddr, bytes: &[u8]) -> Receiver<Answer> {
        self.begin(&["talk", &to.ip().to_string(), &to.port().to_string(), &hex(bytes), "300"])
    }

    /// Runs a program there; words with `=` in front of it are its environment.
    pub(crate) fn run(&self, words: &[&str]) -> Answer {
        let words: Vec<String> = words.iter().map(|word| hex(word.as_bytes())).collect();
        let mut all = vec!["run"];
        all.extend(words.iter().map(String::as_str));
        self.ask(&all)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It ends with its input; a jail then ends as it does when its command does.
        drop(self.into.lock().unwrap_or_else(PoisonError::into_inner).1.take());
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(10) && self.child.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(5));
        }
        // Gone already, if all is well.
        let _gone = self.child.kill();
        self.child.wait().unwrap();
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    match bytes {
        [] => "-".into(),
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}
