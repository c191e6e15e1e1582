//! Masking of the values that differ in each execution, before a golden comparison.

use std::collections::BTreeMap;

use serde_json::Value;

/// Text with `<id 1>`, `<id 2>` … for ids of runs and stores, `<time>` for times, `<took>`
/// for how long something took or takes, exact or as a range, and `<rate>` for numbers a
/// second. Columns are two spaces apart, since their widths depend on what is masked.
pub(crate) fn text(text: &str) -> String {
    let masked = masked(text);
    let masked = masked
        .replace("about <took>", "<took>")
        .replace("<took> to <took>", "<took>");
    let lines = masked.lines().map(|line| {
        let words = line.trim_start_matches(' ');
        let indent = &line[..line.len() - words.len()];
        let columns = words.split("  ").map(str::trim).filter(|c| !c.is_empty());
        format!("{indent}{}\n", columns.collect::<Vec<_>>().join("  "))
    });
    lines.collect()
}

fn masked(text: &str) -> String {
    let mut ids = BTreeMap::new();
    let mut masked = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let at_start = !masked.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '.');
        let found = at_start
            .then(|| {
                id(rest)
                    .or_else(|| short_id(rest))
                    .map(|len| (len, named(&mut ids, &rest[..8])))
                    .or_else(|| time(rest).map(|len| (len, "<time>".to_owned())))
                    .or_else(|| took(rest).map(|len| (len, "<took>".to_owned())))
                    .or_else(|| rate(rest).map(|len| (len, "<rate>".to_owned())))
                    .or_else(|| {
                        confirmation(rest).map(|len| (len, format!("{}-<store>", &rest[..16])))
                    })
                    .or_else(|| place(rest).map(|len| (len, "(<place>)".to_owned())))
            })
            .flatten();
        let len = match found {
            Some((len, mask)) => {
                masked.push_str(&mask);
                len
            }
            None => {
                let first = rest.chars().next().unwrap();
                masked.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[len..];
    }
    masked
}

/// The length of `(pid N on HOST)`.
fn place(text: &str) -> Option<usize> {
    let is_place = text.starts_with("(pid ");
    is_place
        .then(|| text.find(')').map(|end| end + 1))
        .flatten()
}

/// The length of the fingerprint of a plan with the start of the id of its store, which is
/// another one in each test program.
fn confirmation(text: &str) -> Option<usize> {
    let digits = |text: &str| leading(text, |c| c.is_ascii_hexdigit());
    let (plan, store) = text.split_at_checked(16)?;
    let store = store.strip_prefix('-')?;
    (digits(plan) == 16 && digits(store) == 8).then_some(16 + 1 + 8)
}

/// A document, indented, with the same masks; fields that end in `_ms` or in
/// `per_second` hold how long something took, or a rate.
pub(crate) fn json(document: &Value) -> String {
    let mut document = document.clone();
    mask_numbers(&mut document);
    format!(
        "{}\n",
        masked(&serde_json::to_string_pretty(&document).unwrap())
    )
}

fn mask_numbers(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let "pid" | "host" | "program" = name.as_str() {
                    *value = format!("<{name}>").into();
                } else if value.is_number() && name.ends_with("_ms") && name != "deadline_ms" {
                    *value = "<took>".into();
                } else if value.is_number() && name.ends_with("per_second") {
                    *value = "<rate>".into();
                } else {
                    mask_numbers(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(mask_numbers),
        _ => {}
    }
}

fn named(ids: &mut BTreeMap<String, usize>, id: &str) -> String {
    let next = ids.len() + 1;
    format!("<id {}>", ids.entry(id.to_owned()).or_insert(next))
}

/// How long the UUID is that the text starts with.
fn id(text: &str) -> Option<usize> {
    let lengths = [8, 4, 4, 4, 12];
    let mut at = 0;
    for (group, length) in lengths.into_iter().enumerate() {
        if group > 0 {
            at += usize::from(text[at..].starts_with('-'));
        }
        let digits = text.as_bytes().get(at..at + length)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        at += length;
    }
    // With dashes, and at the end of a word.
    let ends = !text[at..].starts_with(|c: char| c.is_ascii_alphanumeric());
    (at == 36 && ends).then_some(at)
}

/// The length of the start of a UUID, which tables show.
fn short_id(text: &str) -> Option<usize> {
    let digits = leading(text, |c| c.is_ascii_hexdigit());
    let ends = text[digits..]
        .chars()
        .next()
        .is_none_or(char::is_whitespace);
    (digits == 8 && ends).then_some(digits)
}

/// How long the RFC 3339 time is that the text starts with.
fn time(text: &str) -> Option<usize> {
    let shape = "dddd-dd-ddTdd:dd:dd";
    let head = text.as_bytes().get(..shape.len())?;
    let fits = shape.bytes().zip(head).all(|(shape, byte)| match shape {
        b'd' => byte.is_ascii_digit(),
        b'T' => *byte == b'T' || *byte == b' ',
        other => *byte == other,
    });
    let rest = &text[if fits { shape.len() } else { return None }..];
    let fraction = rest
        .strip_prefix('.')
        .map_or(0, |digits| 1 + leading(digits, |c| c.is_ascii_digit()));
    let zone = usize::from(rest[fraction..].starts_with('Z'));
    Some(shape.len() + fraction + zone)
}

/// How long the duration is that the text starts with: `17ms`, `2.5 s`,
/// `1m 3s`.
fn took(text: &str) -> Option<usize> {
    let one = |text: &str| {
        let number = leading(text, |c| c.is_ascii_digit() || c == '.');
        if number == 0 {
            return None;
        }
        let space = usize::from(text[number..].starts_with(' '));
        let unit = &text[number + space..];
        let letters = leading(unit, char::is_alphabetic);
        let units = ["ns", "µs", "us", "ms", "s", "m", "min", "h", "days", "day"];
        units
            .contains(&&unit[..letters])
            .then_some(number + space + letters)
    };
    let mut length = one(text)?;
    while let Some(more) = text[length..].strip_prefix(' ').and_then(one) {
        length += 1 + more;
    }
    Some(length)
}

/// How long the rate is that the text starts with: `1,234/s` or `12 a second`.
fn rate(text: &str) -> Option<usize> {
    let number = leading(text, |c| c.is_ascii_digit() || c == '.' || c == ',');
    let unit = ["/s", " a second"]
        .into_iter()
        .find(|unit| text[number..].starts_with(unit))?;
    (number > 0).then_some(number + unit.len())
}

fn leading(text: &str, is: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is(c)).unwrap_or(text.len())
}

#[test]
fn what_differs_from_run_to_run_is_masked_and_nothing_else() {
    let one = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let two = "77e55044-10b1-426f-9247-bb680e5fe0c8";
    assert_eq!(
        text(&format!("{one} {two} {one} at 2026-10-01T12:00:00.123Z.")),
        "<id 1> <id 2> <id 1> at <time>.\n"
    );
    assert_eq!(
        text("took 1m 3.5s, 2 h, 17ms; 1,234/s"),
        "took <took>, <took>, <took>; <rate>\n"
    );
    assert_eq!(text("time  5ms to 1.2s"), "time  <took>\n");
    assert_eq!(text("time  about 5ms"), "time  <took>\n");
    assert_eq!(text(&format!("{} {one}", &one[..8])), "<id 1> <id 1>\n");
    let plain = "loan@2011 240 migrated, plan 0123456789abcdef, 5 % of 3 runs, v1s 5.0 MiB";
    assert_eq!(text(plain), format!("{plain}\n"));
    assert_eq!(text("  a     b   c\n\nd"), "  a  b  c\n\nd\n");
    assert_eq!(
        text("plan 0123456789abcdef-01234567, 0123456789abcdef-0123\n"),
        "plan 0123456789abcdef-<store>, 0123456789abcdef-0123\n"
    );
    let document = serde_json::json!({"a_ms": 5, "deadline_ms": 5, "n": 5, "b_ms": null});
    assert_eq!(
        json(&document),
        "{\n  \"a_ms\": \"<took>\",\n  \"b_ms\": null,\n  \"deadline_ms\": 5,\n  \"n\": 5\n}\n"
    );
}
