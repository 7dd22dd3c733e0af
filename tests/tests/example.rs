//! The README's example of a collector works as it stands there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use procagent_tests::agent::procagent;
use procagent_tests::page::Page;
use procagent_tests::system::{self, command, run, said};
use procagent_tests::workspace;
use std::path::{Path, PathBuf};

/// The first block of Rust below the heading "Add a collector", without its fences.
fn example() -> String {
    let readme = system::read(workspace().join("README.md"));
    let section = readme
        .split_inclusive('\n')
        .skip_while(|line| !(line.starts_with('#') && line.contains("Add a collector")));
    let block = section.skip_while(|line| line.trim() != "```rust").skip(1);
    let block: String = block.take_while(|line| line.trim() != "```").collect();
    assert!(block.contains("PLUGIN"), "the README has an example collector");
    block
}

/// What the first definition in the example is called: `... per_host("name"` or `per_group("name"`.
fn metric_of(example: &str) -> String {
    let call = example.split("::per_").nth(1).expect("a metric is defined");
    call.split('"').nth(1).expect("it has a name").to_owned()
}

fn plugin_of(example: &str) -> String {
    let plugin = example.split("name:").nth(1).expect("the plugin has a name");
    plugin.split('"').nth(1).expect("in quotes").to_owned()
}

/// Copies the sources of the workspace: what the build needs, and nothing that was built.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for name in system::list(from) {
        if [".git", "target"].contains(&&*name) {
            continue;
        }
        let (source, copy) = (from.join(&name), to.join(&name));
        if source.is_dir() && !source.is_symlink() {
            copy_below(&source, &copy);
        } else if source.is_file() {
            std::fs::copy(&source, &copy).unwrap();
        }
    }
}

fn copy_below(from: &Path, to: &Path) {
    // Captured hosts hold links to nowhere and are not needed.
    if !from.ends_with("tests/hosts") {
        copy(from, to);
    }
}

#[test]
fn the_readme_example_collector_builds_and_publishes() {
    let example = example();
    let (name, metric) = (plugin_of(&example), metric_of(&example));
    let directory = tempfile::TempDir::new().unwrap();
    let copied = directory.path().join("procagent");
    copy(workspace(), &copied);

    // As the README says: one file, its `mod` line, its name in ALL.
    let sources = copied.join("collectors/src");
    system::write(sources.join(format!("{name}.rs")), example);
    let list = system::read(sources.join("lib.rs"));
    let listed = list.replacen("pub mod host;", &format!("pub mod {name};\npub mod host;"), 1).replacen(
        "= &[host::PLUGIN",
        &format!("= &[{name}::PLUGIN, host::PLUGIN"),
        1,
    );
    assert_eq!(listed.matches(&format!("{name}::PLUGIN")).count(), 1, "the list was found");
    system::write(sources.join("lib.rs"), listed);

    // A place of its own below target/, so that dependencies are built once.
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), PathBuf::from)
        .join("example");
    let mut build = command(env!("CARGO"));
    build.args(["build", "--quiet", "--offline", "--package", "procagent"]);
    build.current_dir(&copied).env("CARGO_TARGET_DIR", &target).env_remove("PROCAGENT_BINARY");
    let built = run(&mut build);
    assert!(built.status.success(), "{}", said(&built));

    let once = run(command(target.join("debug/procagent")).arg("--once"));
    assert!(once.status.success(), "{}", said(&once));
    let page = Page::parse(&String::from_utf8_lossy(&once.stdout));
    let name = procagent_core::metric::prometheus_label(&metric);
    assert!(page.samples().iter().any(|sample| sample.name.starts_with(&name)), "{name} is not on the page");

    let before = run(procagent().arg("--once"));
    let before = Page::parse(&String::from_utf8_lossy(&before.stdout));
    assert!(!before.samples().iter().any(|sample| sample.name.starts_with(&name)), "it was there before");
}
