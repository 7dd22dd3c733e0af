//! Finds out the git revision. Outside a repository, as in a source archive, the binary says `unknown`.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=PROCAGENT_REVISION");
    println!("cargo::rerun-if-changed=build.rs");
    let given = std::env::var("PROCAGENT_REVISION").ok().filter(|revision| is_plain(revision));
    let revision = given.or_else(from_git).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=PROCAGENT_REVISION={revision}");
}

/// Twelve digits of the commit that is checked out, read without starting git.
fn from_git() -> Option<String> {
    let git = git_folder()?;
    let head_file = git.join("HEAD");
    let head = read(&head_file)?;
    println!("cargo::rerun-if-changed={}", head_file.display());
    let commit = match head.strip_prefix("ref: ") {
        Some(reference) => {
            let loose = git.join(reference);
            let file = if loose.exists() { loose.clone() } else { git.join("packed-refs") };
            // Not in debug builds, where each commit would build the agent and its tests once more.
            if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
                println!("cargo::rerun-if-changed={}", file.display());
            }
            read(&loose).or_else(|| {
                let packed = read(&git.join("packed-refs"))?;
                let line = packed.lines().find(|line| line.ends_with(&format!(" {reference}")))?;
                Some(line.split(' ').next()?.to_owned())
            })?
        }
        None => head,
    };
    commit.get(..12).filter(|commit| is_plain(commit)).map(str::to_owned)
}

/// `.git` of the workspace: a folder, or in a linked work tree a file that names it.
fn git_folder() -> Option<PathBuf> {
    let workspace = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?).parent()?.to_owned();
    let git = workspace.join(".git");
    if git.is_dir() {
        return Some(git);
    }
    Some(workspace.join(read(&git)?.strip_prefix("gitdir: ")?))
}

#[expect(clippy::disallowed_methods, reason = "files of the repository, at build time")]
fn read(path: &Path) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}

/// It goes into a metric label and a web page.
fn is_plain(revision: &str) -> bool {
    (1..=64).contains(&revision.len())
        && revision.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+".contains(&b))
}
