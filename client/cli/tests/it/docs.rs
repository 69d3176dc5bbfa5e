//! Every example of docs/cli.md goes through the program's own parsers; what it shows of output has the fields of the real one.

use std::collections::BTreeSet;

use clap::{CommandFactory, Parser};
use sealdesk_cli::args::Cli;
use sealdesk_cli::chat::json::parse;
use serde_json::Value;

use crate::desk::Desk;

fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md")).unwrap()
}

/// Lines of all blocks with this language, below a heading (any when empty).
fn blocks(page: &str, heading: &str, language: &str) -> Vec<String> {
    let (mut under, mut inside, mut lines) = (heading.is_empty(), false, Vec::new());
    for line in page.lines() {
        match line {
            _ if inside && line == "```" => inside = false,
            _ if inside => lines.extend(under.then(|| line.to_string())),
            _ if line.strip_prefix("```") == Some(language) => inside = true,
            _ if line.starts_with('#') && !heading.is_empty() => under = line.ends_with(heading),
            _ => {}
        }
    }
    lines
}

/// Words as a shell splits them; double quotes only.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words
}

#[test]
fn every_command_line_parses() {
    let lines = blocks(&page(), "", "sh");
    assert!(lines.len() > 30, "{}", lines.len());
    for line in &lines {
        if let Err(error) = Cli::try_parse_from(words(line)) {
            panic!("{line}\n{error}");
        }
    }
    // And every command of the program has an example.
    let mut wanted = BTreeSet::new();
    for command in Cli::command().get_subcommands() {
        let name = command.get_name().to_string();
        let mut below: Vec<_> =
            command.get_subcommands().map(|c| format!("{name} {}", c.get_name())).collect();
        if below.is_empty() {
            below.push(name);
        }
        wanted.extend(below);
    }
    for command in wanted {
        assert!(
            lines.iter().any(|l| l.starts_with(&format!("sealdesk {command} "))),
            "no example of {command}"
        );
    }
}

#[test]
fn every_help_has_examples_and_every_flag_is_on_the_page() {
    let page = page();
    fn each(command: &clap::Command, path: &str, look: &mut impl FnMut(&clap::Command, &str)) {
        let path = format!("{path} {}", command.get_name());
        look(command, path.trim());
        command.get_subcommands().for_each(|c| each(c, &path, look));
    }
    each(&Cli::command(), "", &mut |command, path| {
        if command.get_subcommands().next().is_some() {
            return;
        }
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains(&format!("  {path} ")), "{path} has no example in --help");
        for argument in command.get_arguments().filter_map(|a| a.get_long()) {
            let known =
                argument == "help" || argument == "version" || page.contains(&format!("--{argument}"));
            assert!(known, "{path} --{argument} is not on the page");
        }
    });
}

#[test]
fn every_example_in_a_help_parses() {
    fn each(command: &clap::Command, count: &mut usize) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in help.lines().filter_map(|l| l.strip_prefix("  ")) {
            if let Err(error) = Cli::try_parse_from(words(line)) {
                panic!("{line}\n{error}");
            }
            *count += 1;
        }
        command.get_subcommands().for_each(|c| each(c, count));
    }
    let mut count = 0;
    each(&Cli::command(), &mut count);
    assert!(count > 20, "{count}");
}

#[test]
fn every_input_line_parses_and_every_command_has_one() {
    let lines = blocks(&page(), "Input", "json");
    let mut seen = BTreeSet::new();
    for line in &lines {
        if let Err((_, problem)) = parse(line.as_bytes()) {
            panic!("{line}\n{}", problem.text);
        }
        let value: Value = serde_json::from_str(line).unwrap();
        seen.extend(
            value.as_object().unwrap().keys().filter(|k| *k != "id" && *k != "conversation").cloned(),
        );
    }
    // The program's own list of commands, from its hint.
    let (_, problem) = parse(b"{}").unwrap_err();
    let hint = problem.hint.strip_prefix("Write one of: ").and_then(|h| h.strip_suffix('.')).unwrap();
    let known: BTreeSet<String> = hint.split(", ").map(str::to_string).collect();
    assert_eq!(seen, known);
}

#[test]
fn output_examples_hold_one_kind_each_and_the_table_explains_them() {
    let page = page();
    let mut kinds = BTreeSet::new();
    for line in blocks(&page, "Output", "json") {
        let value: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}\n{e}"));
        let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        keys.retain(|k| k != "id" && k != "conversation");
        assert_eq!(keys.len(), 1, "{line}");
        kinds.extend(keys);
    }
    let output = page.split("### Output").nth(1).unwrap().split("### Codes").next().unwrap();
    for kind in &kinds {
        assert!(output.contains(&format!("\n| `{kind}` |")), "{kind} is not explained");
    }
    let explained = output.lines().filter(|l| l.starts_with("| `")).count();
    assert_eq!(explained, kinds.len());
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{text}\n{e}"))
}

/// What the first line of a kind holds.
fn first<'a>(lines: impl Iterator<Item = &'a str>, kind: &str) -> Value {
    lines.map(json).find_map(|line| line.get(kind).cloned()).unwrap()
}

/// The same fields, however deep; of a list the first entry counts, where both have one.
fn assert_same_fields(shown: &Value, real: &Value, path: &str) {
    match (shown, real) {
        (Value::Object(shown), Value::Object(real)) => {
            let (on_the_page, said): (Vec<_>, Vec<_>) = (shown.keys().collect(), real.keys().collect());
            assert_eq!(on_the_page, said, "{path}");
            // The fields of `names` are languages.
            for (key, value) in shown.iter().filter(|(key, _)| *key != "names") {
                assert_same_fields(value, &real[key], &format!("{path}.{key}"));
            }
        }
        (Value::Array(shown), Value::Array(real)) => {
            if let (Some(shown), Some(real)) = (shown.first(), real.first()) {
                assert_same_fields(shown, real, &format!("{path}[0]"));
            }
        }
        _ => {}
    }
}

#[test]
fn json_of_single_commands_has_the_fields_on_the_page() {
    let shown: Vec<_> =
        blocks(&page(), "JSON of single commands", "json").iter().map(|line| json(line)).collect();
    let [organisation, agent, request, verified, transcript] = shown.as_slice() else { panic!("{shown:#?}") };
    let desk = Desk::with_agent();
    let real = |command: &str| json(&desk.run(command).good().out);
    assert_same_fields(organisation, &real("org show --dir admin --json"), "org show");
    assert_same_fields(agent, &real("agent list --dir admin --json"), "agent list");
    let enroll = "agent enroll --invitation mira.invitation --home mira --out again.request --passphrase-file mira.pass --json";
    assert_same_fields(request, &real(enroll), "agent enroll");

    let chat = "customer chat --json --org admin/org.json --home customer --drain 0";
    let input = b"{\"open\":{\"topic\":\"general\"}}\n{\"send\":{\"text\":\"hello\"}}\n{\"list\":{}}\n";
    let told = desk.run_with(chat, input).refused(8, "").out;
    let outputs = blocks(&page(), "Output", "json");
    for kind in ["ready", "state"] {
        let shown = first(outputs.iter().map(String::as_str), kind);
        assert_same_fields(&shown, &first(told.lines(), kind), kind);
    }
    assert_same_fields(verified, &real("verify --home customer --json"), "verify");
    desk.run("export --home customer --out t.json --format json").good();
    let real = json(&std::fs::read_to_string(desk.path("t.json")).unwrap());
    assert_same_fields(transcript, &real, "export");
}
