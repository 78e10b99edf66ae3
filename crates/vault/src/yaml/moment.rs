//! Moments, as go-yaml takes them and Go's `time.Time` writes them.

/// The next one or two digits, as a number.
fn short(text: &mut &str) -> Option<u32> {
    let count = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
    take(text, count)
}

/// Exactly so many digits, as a number.
fn take(text: &mut &str, count: usize) -> Option<u32> {
    let (digits, rest) = text.split_at_checked(count)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    *text = rest;
    digits.parse().ok()
}

fn character(text: &mut &str, expected: char) -> Option<()> {
    *text = text.strip_prefix(expected)?;
    Some(())
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Reads a moment as go-yaml does, and returns how Go writes it; nothing in the arm of a moment that it cannot write.
///
/// `YYYY-M-D`, then nothing, or `T` or `t`, a time and a zone, or spaces and a time without one.
pub(super) fn read(text: &str) -> Option<Option<String>> {
    let mut rest = text;
    let year = take(&mut rest, 4)?;
    character(&mut rest, '-')?;
    let month = short(&mut rest)?;
    character(&mut rest, '-')?;
    let day = short(&mut rest)?;
    if !(1..=12).contains(&month) || !(1..=days(year, month)).contains(&day) {
        return None;
    }
    let date = format!("{year:04}-{month:02}-{day:02}");
    if rest.is_empty() {
        return Some(Some(format!("{date}T00:00:00Z")));
    }
    let is_zoned = rest.starts_with(['T', 't']);
    rest = if is_zoned { rest.get(1..)? } else { rest.strip_prefix(' ')?.trim_start_matches(' ') };
    let time = time(&mut rest)?;
    if !is_zoned {
        return rest.is_empty().then(|| Some(format!("{date}T{time}Z")));
    }
    let zone = match rest {
        "Z" => Some("Z".to_owned()),
        _ => zone(rest)?,
    };
    Some(zone.map(|zone| format!("{date}T{time}{zone}")))
}

fn time(rest: &mut &str) -> Option<String> {
    let hour = short(rest)?;
    character(rest, ':')?;
    let minute = short(rest)?;
    character(rest, ':')?;
    let second = short(rest)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut fraction = "";
    if let Some(behind) = rest.strip_prefix(['.', ','])
        && behind.starts_with(|first: char| first.is_ascii_digit())
    {
        let count = behind.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, behind) = behind.split_at_checked(count)?;
        fraction = digits.get(..9).unwrap_or(digits).trim_end_matches('0');
        *rest = behind;
    }
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{hour:02}:{minute:02}:{second:02}{point}{fraction}"))
}

/// The zone; nothing in the arm of one that versions of Go take differently, and do not write.
fn zone(mut rest: &str) -> Option<Option<String>> {
    let sign = rest.chars().next().filter(|sign| matches!(sign, '+' | '-'))?;
    rest = rest.get(1..)?;
    let hours = take(&mut rest, 2)?;
    character(&mut rest, ':')?;
    let minutes = take(&mut rest, 2)?;
    if !rest.is_empty() {
        return None;
    }
    Some(match (hours, minutes) {
        (0, 0) => Some("Z".to_owned()),
        (0..=23, 0..=59) => Some(format!("{sign}{hours:02}:{minutes:02}")),
        _ => None,
    })
}
