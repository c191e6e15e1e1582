use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;

#[track_caller]
fn of(code: &str) -> u64 {
    match code.parse() {
        Ok(tokens) => fingerprint(&tokens),
        Err(error) => unreachable!("{code}: {error}"),
    }
}

/// What the formatter may write otherwise.
const CANONICAL: &str =
    "fn m(a: A) -> B { use b::{C, D}; match (a) { C => { d } | D => return a.0 .1, } }";

const FUNCTION: &str = "fn m(old: A) -> B { B { total: old.total << 2, } }";

#[test]
fn the_hash_of_a_function_is_the_same_in_every_release() {
    assert_eq!(of("a"), 0x2b8f_7619_2bc7_1f40);
    assert_eq!(of(CANONICAL), 0xc418_8f05_a21f_6ef3);
    assert_eq!(of(FUNCTION), 0x1fb3_e15a_6b2c_b2fe);
}

#[test]
fn layout_comments_and_docs_do_not_count() {
    for same in [
        "fn m(old:A)->B{B{total:old.total<<2,}}",
        "fn m(old: A) -> B { B { total: old.total << 2 } }",
        "fn m(old: A,) -> B { B { total: old.total << 2 } }",
        "fn m( old : A ) -> B {\n    // shift\n    B { total: old.total << 2, }\n}",
        "/// Doubles twice.\nfn m(old: A) -> B { B { total: old.total << 2, } }",
        "pub(crate) fn m(old: A) -> B { B { total: old.total << 2, } }",
        "#[inline] #[must_use] pub fn m(old: A) -> B { B { total: old.total << 2, } }",
        "fn m(old: A) -> B { #![allow(doc)] B { total: old.total << 2, } }",
        "#[doc = \"Doubles twice.\"] fn m(old: A) -> B { B { total: old.total << 2, } }",
        "fn m(old: A) -> B { //! Doubles twice.\n B { total: old.total << 2, } }",
        "fn m(old: A) -> B { B { /** net */ total: old.total << 2, } }",
    ] {
        assert_eq!(of(same), of(FUNCTION), "{same}");
    }
    assert_eq!(of("a=-b"), of("a = -b"));
}

#[test]
fn a_comma_that_the_formatter_removes_does_not_count() {
    for (written, formatted) in [
        (
            "fn m(_: A) { match a { B => { 1 }, C => { 2 }, } }",
            "fn m(_: A) { match a { B => { 1 } C => { 2 } } }",
        ),
        (
            "match a { B => 'b: { 1 }, C => { 2 } }",
            "match a { B => 'b: { 1 } C => { 2 } }",
        ),
        ("fn m(_: Vec<A,>) -> B {}", "fn m(_: Vec<A>) -> B {}"),
        (
            "fn m(_: A) { Vec::<A,>::new() }",
            "fn m(_: A) { Vec::<A>::new() }",
        ),
        ("fn m(_: V<(A,),>) {}", "fn m(_: V<(A,)>) {}"),
    ] {
        assert_eq!(of(written), of(formatted), "{written}");
    }
    for (written, other) in [
        (
            "match a { B => C {}, D => 1 }",
            "match a { B => C {} D => 1 }",
        ),
        ("f(a >= {}, b)", "f(a >= {} b)"),
        ("(Vec::<A>::new(),)", "(Vec::<A>::new())"),
        ("m!(a = > {}, b)", "m!(a = > {} b)"),
    ] {
        assert_ne!(of(written), of(other), "{written}");
    }
}

#[test]
fn the_comma_of_a_tuple_of_one_element_counts() {
    for tuple in [
        "fn m(_: A) -> (B,) { b }",
        "fn m(_: A) { let (b,) = b; }",
        "fn m(_: A) { (b,) }",
        "fn m(_: A) { return (b,); }",
        "fn m(_: A) { Ok((b,)) }",
        "fn m(_: A) { a.map(|b| (b,)) }",
        "fn m(_: A) { match a { _ => (b,), } }",
        "fn m(_: A) { if a {} (b,) }",
        "fn m(_: A) { break 'a (b,); }",
        "fn m(_: &'static (B,)) {}",
        "fn m(_: Vec<(B,)>) {}",
        "fn m(_: *const (B,)) {}",
        "fn m(_: *mut (B,)) {}",
        "fn m(_: A) { [(b,)] }",
        "fn m(_: A) { a == (b,) }",
        "fn m(_: (HashMap<K, V>,)) {}",
        "fn m(_: A) -> (HashMap<K, fn(A) -> Vec<V>>,) { b }",
        "fn m(_: A) { (b.collect::<HashMap<K, V>>(),) }",
        "fn m(_: A) { (HashMap::<K, V>::new(),) }",
        "fn m(_: A) { (a < b,) }",
    ] {
        assert_ne!(of(tuple), of(&tuple.replace(",)", ")")), "{tuple}");
    }
    for no_tuple in [
        "fn m(_: A,) {}",
        "fn m<T>(_: T,) {}",
        "fn m(_: A) { m(b,) }",
        "fn m(_: A) { m::<B>(b,) }",
        "fn m(_: A) { m::<Vec<B>>(b,) }",
        "fn m(_: A) { m(a)(b,) }",
        "fn m(_: A) { m[0](b,) }",
        "fn m(_: A) { m?(b,) }",
        "fn m(_: A) { format!(\"b\",) }",
        "fn m(_: A) { Self(b,) }",
        "fn m(_: A) { let Some(b,) = b; }",
        "fn m(_: A) -> fn(B,) { b }",
        "fn m(_: A) { (a, b,) }",
        "fn m(_: (HashMap<K, V>, B,)) {}",
        "fn m(_: A) { (a < b, c > d,) }",
        "fn m(_: A) { (a < b, c >= d,) }",
        "fn m(_: A) { (a << b, c,) }",
        "fn m(_: A) -> impl Fn(B,) -> C { b }",
    ] {
        assert_eq!(of(no_tuple), of(&no_tuple.replace(",)", ")")), "{no_tuple}");
    }
}

#[test]
fn what_the_formatter_changes_does_not_count() {
    for (written, formatted) in [
        (
            "match a { B => { c(d) } E => f }",
            "match a { B => c(d), E => f, }",
        ),
        (
            "match a { B => { c(d) }, E => { f } }",
            "match a { B => c(d), E => f }",
        ),
        (
            "match a { B => { return c; } E => f }",
            "match a { B => return c, E => f }",
        ),
        (
            "match a { | B | C => d, | E => f }",
            "match a { B | C => d, E => f }",
        ),
        (
            "match a { B => { c } | E => f }",
            "match a { B => c, E => f }",
        ),
        ("a.map(|b| { c(b) })", "a.map(|b| c(b))"),
        ("a(|| { b }, move |c| { d });", "a(|| b, move |c| d);"),
        (
            "{ let a = |b| { return c; }; }",
            "{ let a = |b| return c; }",
        ),
        (
            "fn m(a: A) -> B { return a; }",
            "fn m(a: A) -> B { return a }",
        ),
        (
            "{ if a { return b; } else { continue } }",
            "{ if a { return b } else { continue; } }",
        ),
        ("{ match a {} return b; }", "{ match a {} return b }"),
        ("{ let a = (b + c); }", "{ let a = b + c; }"),
        (
            "{ if (a) {} while (b) {} match (c) {} for d in (e) {} }",
            "{ if a {} while b {} match c {} for d in e {} }",
        ),
        ("{ return (a); }", "{ return a }"),
        ("{ f((a), ((b))) }", "{ f(a, b) }"),
        ("{ ((a)).b() }", "{ (a).b() }"),
        ("{ m!(|a| { b }) }", "{ m!(|a| b) }"),
        ("{ a.0 .1 }", "{ a.0.1 }"),
        (
            "fn m(_: A<B<C> >) { <<A>::B>::c() }",
            "fn m(_: A<B<C>>) { < <A>::B>::c() }",
        ),
        (
            "{ use a::b; use c::{d, e as f}; g }",
            "{ use c::{e as f, d,}; use a::b; g }",
        ),
        (
            "{ use a::{b, c::{self, d}}; g }",
            "{ use a::c::{d, self}; use a::b; g }",
        ),
        (
            "fn m(a: A) -> B where A: C, { a }",
            "fn m(a: A) -> B where A: C { a }",
        ),
        (
            "{ #[rustfmt::skip] let a = b; #[expect(unused)] let c = d; }",
            "{ let a = b; let c = d; }",
        ),
    ] {
        assert_eq!(of(written), of(formatted), "{written}");
    }
}

#[test]
fn what_the_formatter_keeps_counts() {
    for (written, other) in [
        (
            "match a { B => { c; } E => f }",
            "match a { B => c, E => f }",
        ),
        (
            "match a { B => { c; d } E => f }",
            "match a { B => c, E => f }",
        ),
        ("match a { B => {} E => f }", "match a { B => (), E => f }"),
        ("{ let a = |b| { c; d }; }", "{ let a = |b| c; d; }"),
        ("{ a = |b| { c + d } * e; }", "{ a = |b| c + d * e; }"),
        ("{ (a + b) * c }", "{ a + b * c }"),
        ("{ a * (b + c) }", "{ a * b + c }"),
        ("{ f((a, b)) }", "{ f(a, b) }"),
        ("{ a = (b,); }", "{ a = b; }"),
        ("{ let Some((..)) = a; }", "{ let Some(..) = a; }"),
        ("{ -(a) }", "{ -a }"),
        ("{ a() }", "{ a }"),
        ("{ a = (); }", "{ a = ; }"),
        ("{ m!((a)) }", "{ m!(a) }"),
        ("{ use a::b; use a::c; }", "{ use a::b; use a::d; }"),
        ("{ use a::b as c; }", "{ use a::b; }"),
        ("{ use a::{self}; }", "{ use a; }"),
        ("{ a; }", "{ a }"),
        ("{ if a { return b; } c; }", "{ if a { return b; } c }"),
        ("{ return a; b; }", "{ return a; b }"),
        ("#[cold_start] fn m() {}", "fn m() {}"),
        ("{ f(a, { b }) }", "{ f(a { b }) }"),
    ] {
        assert_ne!(of(written), of(other), "{written}");
    }
}

#[test]
fn every_other_token_counts() {
    let others = [
        "fn n(old: A) -> B { B { total: old.total << 2, } }",
        "fn m(old: C) -> B { B { total: old.total << 2, } }",
        "fn m(old: A) -> B { B { total: old.total << 3, } }",
        "fn m(old: A) -> B { B { total: old.total >> 2, } }",
        "fn m(old: A) -> B { B { total: (old.total) << 2, } }",
        "fn m(old: A) -> B { B { total: [old.total << 2], } }",
        "fn m(old: A) -> B { B { total: { old.total << 2 }, } }",
        "fn m(old: A) -> B { B { total: old.total << 2u64, } }",
        "const fn m(old: A) -> B { B { total: old.total << 2, } }",
        "#[cfg(doc)] fn m(old: A) -> B { B { total: old.total << 2, } }",
        "fn m(old: A) -> B { #![cfg(doc)] B { total: old.total << 2, } }",
    ];
    let mut hashes: Vec<u64> = others.iter().map(|code| of(code)).collect();
    hashes.push(of(FUNCTION));
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), others.len() + 1);
}

#[test]
fn what_differs_only_in_its_borders_differs() {
    for (a, b) in [
        ("a b", "ab"),
        ("a && b", "a & & b"),
        ("a || b", "a | | b"),
        ("(a) b", "(a b)"),
        ("a.b", "a . . b"),
        ("\"a\"", "a"),
        ("'a' ", "a"),
        ("1.0", "1 . 0"),
        ("()", "{}"),
        ("", "()"),
    ] {
        assert_ne!(of(a), of(b), "{a} and {b}");
    }
}

/// The Rust files under a folder.
fn files_in(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            files_in(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
}

/// Formats the code of this repository in two other ways, and requires that the
/// fingerprint of each file stays the same. Needs `rustfmt`, and the repository.
#[test]
fn the_formatter_changes_no_fingerprint() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for folder in ["runtime/core", "runtime/runner", "tests/tests/runner"] {
        files_in(&root.join(folder), &mut files);
    }
    let folder = std::env::temp_dir().join(format!("fingerprints-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let mut copies = Vec::new();
    for file in files {
        let code = fs::read_to_string(&file).unwrap();
        // The formatter would format these files, too, and not find them.
        let is_module = |line: &&str| !(line.contains("mod ") && line.ends_with(';'));
        let code: Vec<&str> = code.lines().filter(is_module).collect();
        let code = code.join("\n");
        if let Ok(tokens) = code.parse::<proc_macro2::TokenStream>() {
            let copy = folder.join(format!("{}.rs", copies.len()));
            fs::write(&copy, code).unwrap();
            copies.push((file, copy, fingerprint(&tokens)));
        }
    }
    let mut changed = 0;
    for width in [
        "max_width=50,use_small_heuristics=Off",
        "max_width=250,use_small_heuristics=Max,match_block_trailing_comma=true",
    ] {
        let mut formatter = Command::new("rustfmt");
        formatter.args(["--edition", "2024", "--config", width]);
        formatter.args(copies.iter().map(|(_, copy, _)| copy));
        let Ok(output) = formatter.output() else {
            eprintln!("skipped: the_formatter_changes_no_fingerprint needs rustfmt");
            break;
        };
        // Files with code that cannot be formatted are left as they are.
        drop(output);
        for (file, copy, before) in &copies {
            let code = fs::read_to_string(copy).unwrap();
            assert_eq!(of(&code), *before, "{} at {width}", file.display());
            changed += usize::from(code != fs::read_to_string(file).unwrap());
        }
    }
    fs::remove_dir_all(&folder).unwrap();
    assert!(
        copies.is_empty() || changed > copies.len(),
        "{changed} of {}",
        copies.len()
    );
}
