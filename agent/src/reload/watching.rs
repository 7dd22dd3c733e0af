//! Watches the folders in which a change of the configuration shows.

use notify::event::{AccessKind, AccessMode};
use notify::{Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Notify;

/// Folders and not the file: editors put a new file in its place, and a ConfigMap exchanges the link `..data` beside
/// it (atomic writer of the kubelet).
pub struct Watching {
    watcher: RecommendedWatcher,
    file: PathBuf,
    folders: BTreeSet<PathBuf>,
}

impl Watching {
    /// Rings `changed` for everything that happens beside `file`, and beside what it is a link to.
    pub fn start(file: &Path, changed: Arc<Notify>) -> notify::Result<Watching> {
        let ring = move |event: notify::Result<Event>| {
            if event.map_or(true, |event| is_change(&event)) {
                changed.notify_one();
            }
        };
        let watcher = RecommendedWatcher::new(ring, Config::default())?;
        let mut watching = Watching { watcher, file: file.to_owned(), folders: BTreeSet::new() };
        watching.watcher.watch(&folder_of(file), RecursiveMode::NonRecursive)?;
        watching.folders.insert(folder_of(file));
        watching.again();
        Ok(watching)
    }

    /// Looks anew where the file lies. A folder that cannot be watched is left out.
    pub fn again(&mut self) {
        let mut wanted = BTreeSet::from([folder_of(&self.file)]);
        wanted.extend(self.file.canonicalize().ok().as_deref().map(folder_of));
        for gone in self.folders.difference(&wanted) {
            // The kernel has ended the watch where the folder is gone.
            let _ended_already = self.watcher.unwatch(gone);
        }
        self.folders.retain(|folder| wanted.contains(folder));
        for new in wanted {
            // Also for those known: a folder may have been exchanged for another of its name.
            if self.watcher.watch(&new, RecursiveMode::NonRecursive).is_ok() {
                self.folders.insert(new);
            }
        }
    }
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Reading is none; loading the configuration would ring for itself.
fn is_change(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}
