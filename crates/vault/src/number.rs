//! Floats as Go writes them: SOPS's ciphertexts and MACs are made of these texts.

/// Go's `strconv.FormatFloat(number, 'f', -1, 64)`.
pub(crate) fn float_text(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    // Rust's is the shortest text that reads back as well, and never has an exponent.
    number.to_string()
}

/// What Go's `strconv.ParseFloat` takes of what [`float_text`] writes.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    match text {
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        _ if text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) => {
            text.parse().ok().filter(|number: &f64| number.is_finite())
        }
        _ => None,
    }
}

/// What Go's `encoding/json` writes: an exponent below 1e-6 and from 1e21 on.
pub(crate) fn json_float(number: f64) -> Option<String> {
    if !number.is_finite() {
        return None;
    }
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        // Rust has no sign before a positive exponent; Go has.
        let text = format!("{number:e}");
        return Some(if text.contains("e-") { text } else { text.replace('e', "e+") });
    }
    Some(float_text(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_go_writes_them() {
        for (number, text, json) in [
            (1.0, "1", "1"),
            (-0.0, "-0", "-0"),
            (0.1, "0.1", "0.1"),
            (1e21, "1000000000000000000000", "1e+21"),
            (1e20, "100000000000000000000", "100000000000000000000"),
            (1e-7, "0.0000001", "1e-7"),
            (1e-6, "0.000001", "0.000001"),
            (9007199254740993.0, "9007199254740992", "9007199254740992"),
            (5e-324, &format!("0.{}5", "0".repeat(323)), "5e-324"),
        ] {
            assert_eq!(float_text(number), text);
            assert_eq!(json_float(number).as_deref(), Some(json));
            assert_eq!(parse_float(text), Some(number));
        }
        assert_eq!(parse_float("1e400"), None);
        assert_eq!(parse_float("infinity"), None);
    }
}
