//! What a scalar means, as go-yaml decides it: YAML 1.2 and what is left there of 1.1, such as `017` for 15.

use base64::Engine as _;

use super::moment;
use super::scan::Style;
use super::tag::Tag;
use crate::secret::{Secret, Sink};
use crate::tree::Value;

/// Why a scalar has no value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unresolved {
    /// It does not fit its tag.
    Tag,
    /// An integer that needs the 64th bit.
    Unsigned,
    /// A moment that SOPS cannot write down.
    Moment,
}

/// The value of a scalar.
pub(super) fn value_of(text: &Secret, style: Style, tag: Option<Tag>) -> Result<Value, Unresolved> {
    let is_plain = style == Style::Plain;
    let plain = || text.expose_text().ok_or(Unresolved::Tag);
    match tag {
        None | Some(Tag::Unspecific) if is_plain => plain_value(plain()?),
        None | Some(Tag::Unspecific | Tag::Str) => Ok(Value::Text(text.duplicate())),
        Some(Tag::Binary) => binary(text.expose()).map(Value::Text),
        Some(tag @ (Tag::Null | Tag::Bool | Tag::Int | Tag::Float)) => {
            let value = match untimed_value(plain()?)? {
                // An integer is a float when it is to be one.
                Value::Int(number) if tag == Tag::Float => Value::Float(float_of(number)),
                value => value,
            };
            let fits = matches!(
                (tag, &value),
                (Tag::Null, Value::Null)
                    | (Tag::Bool, Value::Bool(_))
                    | (Tag::Int, Value::Int(_))
                    | (Tag::Float, Value::Float(_))
            );
            if fits { Ok(value) } else { Err(Unresolved::Tag) }
        }
        Some(Tag::Timestamp) => time(plain()?).unwrap_or(Err(Unresolved::Tag)),
        Some(Tag::Merge) if text.expose() == b"<<" => Ok(Value::Text(text.duplicate())),
        Some(Tag::Seq | Tag::Map | Tag::Merge) => Err(Unresolved::Tag),
    }
}

#[expect(clippy::cast_precision_loss, reason = "as Go converts it")]
fn float_of(number: i64) -> f64 {
    number as f64
}

/// The value of a text without quotes and tag.
pub(super) fn plain_value(text: &str) -> Result<Value, Unresolved> {
    if text.starts_with(|first: char| first.is_ascii_digit())
        && let Some(time) = time(text)
    {
        return time;
    }
    untimed_value(text)
}

fn time(text: &str) -> Option<Result<Value, Unresolved>> {
    Some(moment::read(text)?.map(Value::Time).ok_or(Unresolved::Moment))
}

/// The words that are no texts.
fn word(text: &str) -> Option<Value> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Value::Float(f64::NEG_INFINITY),
        _ => return None,
    })
}

fn untimed_value(text: &str) -> Result<Value, Unresolved> {
    if let Some(value) = word(text) {
        return Ok(value);
    }
    let number = match text.as_bytes().first() {
        Some(b'.') => float(text.as_bytes()),
        Some(b'0'..=b'9' | b'+' | b'-') => {
            let mut digits = Sink::default();
            text.as_bytes().split(|byte| *byte == b'_').for_each(|part| digits.push(part));
            number(digits.into_secret().expose_text().unwrap_or_default())?
        }
        _ => None,
    };
    Ok(number.unwrap_or_else(|| Value::Text(Secret::from(text))))
}

/// A number whose underscores are gone.
fn number(text: &str) -> Result<Option<Value>, Unresolved> {
    match based(text) {
        Integer::Signed(number) => return Ok(Some(Value::Int(number))),
        Integer::Unsigned => return Err(Unresolved::Unsigned),
        Integer::None => {}
    }
    if let Some(float) = float(text.as_bytes()) {
        return Ok(Some(float));
    }
    // Go takes a sign behind these prefixes.
    for (prefix, radix) in [("0b", 2), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && let Some(number) = signed(digits, radix)
        {
            return Ok(Some(Value::Int(number)));
        }
    }
    Ok(None)
}

enum Integer {
    Signed(i64),
    Unsigned,
    None,
}

/// Digits with a sign in front of them, or none.
fn signed(text: &str, radix: u32) -> Option<i64> {
    let (is_negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let size = i128::from(unsigned(digits, radix)?);
    i64::try_from(if is_negative { -size } else { size }).ok()
}

fn unsigned(digits: &str, radix: u32) -> Option<u64> {
    // Rust would take a sign here.
    if digits.starts_with(['+', '-']) { None } else { u64::from_str_radix(digits, radix).ok() }
}

/// Go's `strconv.ParseInt` and `ParseUint` with the base that the text says.
fn based(text: &str) -> Integer {
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => (-1, text.get(1..).unwrap_or_default()),
        Some(b'+') => (1, text.get(1..).unwrap_or_default()),
        _ => (0, text),
    };
    let (radix, rest) = match digits.as_bytes() {
        [b'0', b'b' | b'B', _, ..] => (2, digits.get(2..)),
        [b'0', b'o' | b'O', _, ..] => (8, digits.get(2..)),
        [b'0', b'x' | b'X', _, ..] => (16, digits.get(2..)),
        [b'0', _, ..] => (8, digits.get(1..)),
        _ => (10, Some(digits)),
    };
    let Some(size) = rest.and_then(|rest| unsigned(rest, radix)) else { return Integer::None };
    let number = if sign < 0 { -i128::from(size) } else { i128::from(size) };
    match (i64::try_from(number), sign) {
        (Ok(number), _) => Integer::Signed(number),
        // Go reads an integer of 64 bits without a sign, and SOPS does not know the type.
        (Err(_), 0) => Integer::Unsigned,
        (Err(_), _) => Integer::None,
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, when it is no greater than a double can be.
fn float(text: &[u8]) -> Option<Value> {
    let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    let whole = digits(rest);
    let mut rest = rest.get(whole..)?;
    let mut fraction = 0;
    if let Some(behind) = rest.strip_prefix(b".") {
        fraction = digits(behind);
        rest = behind.get(fraction..)?;
    }
    if whole + fraction == 0 {
        return None;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = exponent.strip_prefix(b"-").or(exponent.strip_prefix(b"+")).unwrap_or(exponent);
        if exponent.is_empty() || digits(exponent) < exponent.len() {
            return None;
        }
    } else if !rest.is_empty() {
        return None;
    }
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    number.is_finite().then_some(Value::Float(number))
}

/// Base64 as Go reads it: line breaks do not count, padding is needed, and the last bits may be anything.
fn binary(text: &[u8]) -> Result<Secret, Unresolved> {
    let mut joined = Sink::default();
    text.split(|byte| matches!(byte, b'\r' | b'\n')).for_each(|part| joined.push(part));
    let settings = base64::engine::GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    let engine = base64::engine::GeneralPurpose::new(&base64::alphabet::STANDARD, settings);
    // A decoding that fails leaves what it had decoded behind in no other place than this.
    let joined = joined.into_secret();
    let mut bytes = zeroize::Zeroizing::new(vec![0; joined.expose().len()]);
    let length = engine.decode_slice(joined.expose(), &mut bytes).map_err(|_| Unresolved::Tag)?;
    Ok(Secret::new(bytes.get(..length).unwrap_or_default().to_vec()))
}
