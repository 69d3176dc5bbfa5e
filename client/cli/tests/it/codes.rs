//! The tables of codes in docs/cli.md against the sources that make them: none is missing, none is invented, and what the
//! page says of fault and remedy is what the programs say.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sealdesk_protocol::wire::Code;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Cells of the table below a heading of docs/cli.md, without the marks around a code.
fn table(heading: &str) -> Vec<Vec<String>> {
    let page = fs::read_to_string(Path::new(SOURCES).join("../docs/cli.md")).unwrap();
    let (_, section) = page.split_once(&format!("\n#### {heading}\n")).unwrap();
    let section = section.split("\n#").next().unwrap();
    let cells =
        |row: &str| row.split(" | ").map(|cell| cell.trim_matches([' ', '|', '`']).to_string()).collect();
    section.lines().filter(|line| line.starts_with("| `")).map(cells).collect()
}

/// A source without its tests.
fn source(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]").next().unwrap().to_string()
}

/// What stands between each `opener` and the bracket that closes it.
fn inside<'a>(source: &'a str, opener: &str) -> Vec<&'a str> {
    let begins = source.match_indices(opener).map(|(at, _)| &source[at + opener.len()..]);
    begins.map(|rest| &rest[..closing(rest)]).collect()
}

/// Where the bracket closes that was opened just before; brackets in texts do not count.
fn closing(rest: &str) -> usize {
    let (mut depth, mut quoted, mut escaped) = (1, false, false);
    for (at, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' | '{' | '[' if !quoted => depth += 1,
            ')' | '}' | ']' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    panic!("no end of {rest}");
}

/// The texts in a piece of source.
fn texts(source: &str) -> Vec<String> {
    let source = source.replace("\\\"", "\u{0}");
    source.split('"').skip(1).step_by(2).map(|text| text.replace('\u{0}', "\"")).collect()
}

fn is_code(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

#[test]
fn the_relay_s_codes() {
    let documented: BTreeSet<_> = table("Of the relay").into_iter().collect();
    let codes = Code::ALL.iter().chain([&Code::Unknown]);
    let known = codes.map(|c| [c.as_str(), c.fault().as_str(), c.hint()].map(str::to_string).to_vec());
    assert_eq!(documented, known.collect());
}

#[test]
fn the_engine_s_codes() {
    let documented =
        table("Of the engine").into_iter().map(|row| [&row[0], &row[1], &row[3]].map(Clone::clone));
    let files = fs::read_dir(Path::new(SOURCES).join("src/engine/problem")).unwrap();
    let engine: String = files.map(|file| source(&file.unwrap().path())).collect();
    let mut known = BTreeSet::new();
    for call in inside(&engine, "problem(") {
        let (texts, fault) = (texts(call), call.split_once("Fault::"));
        let (Some(first), Some(hint), Some((_, fault))) = (texts.first(), texts.last(), fault) else {
            continue;
        };
        let fault = fault.split(',').next().unwrap().to_ascii_lowercase();
        // One constructor chooses its code by what failed.
        let several = inside(&engine, "match error {").concat();
        let codes = if is_code(first) { vec![first.clone()] } else { self::texts(&several) };
        known.extend(codes.into_iter().map(|code| [code, fault.clone(), hint.clone()]));
    }
    assert!(known.len() > 40, "{}", known.len());
    assert_eq!(documented.collect::<BTreeSet<_>>(), known);
}

#[test]
fn the_program_s_codes() {
    let documented: BTreeSet<_> = table("Of this program").into_iter().map(|row| row[0].clone()).collect();
    let mut known = BTreeSet::new();
    let mut folders = vec![Path::new(SOURCES).join("native/src"), Path::new(SOURCES).join("cli/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // The chat for people has the same codes, and shows none.
            if path.is_dir() && !path.ends_with("interactive") {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") && !path.ends_with("tests.rs") {
                let source = source(&path);
                let made = ["refused(", "problem(", "Problem {"].map(|opener| inside(&source, opener));
                let first = made.into_iter().flatten().filter_map(|call| texts(call).into_iter().next());
                known.extend(first.filter(|text| is_code(text)));
            }
        }
    }
    // Those of an exit.
    let errors = source(&Path::new(SOURCES).join("cli/src/error.rs"));
    let (_, code) = errors.split_once("fn code(&self) -> &'static str {").unwrap();
    known.extend(texts(&code[..closing(code)]));
    assert!(known.len() > 20, "{}", known.len());
    assert_eq!(documented, known);
}
