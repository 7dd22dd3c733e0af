//! Follows the configuration while the agent runs: its file, and SIGHUP. A new one is loaded and checked whole; what
//! is wrong is refused, and the one in force stays.

mod compare;
mod watching;

pub use compare::{Compared, compare};

use crate::agent::judging::{Message, Reloads};
use crate::agent::{self, judging};
use crate::clock;
use crate::config::{Config, ConfigError, Loaded, Request, Variables, load};
use crate::logging::LogLevel;
use crate::outputs::http::Health;
use crate::signals::Hangup;
use procagent_core::time::Ns;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use watching::Watching;

/// A change is looked at when nothing has happened for this long: editors and mounts write in several steps.
const QUIET: Duration = Duration::from_millis(200);

/// It is looked at after this long however busy the folder is.
const QUIET_AT_MOST: Duration = Duration::from_secs(2);

/// How the configuration was come by, so that it can be come by again.
#[derive(Clone, Debug)]
pub struct Origin {
    /// What the command line said.
    pub request: Request,
    /// The environment at start.
    pub variables: Variables,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
}

/// What follows the configuration needs to reach.
pub struct Reach {
    /// The judge.
    pub judge: SyncSender<Message>,
    /// The log.
    pub log: LogLevel,
    /// The health check, which depends on the interval.
    pub health: Health,
    /// What is said of it in the agent's own numbers.
    pub reloads: Arc<Reloads>,
    /// What is said of it on the control socket.
    pub story: Arc<Story>,
}

/// The last attempt that changed or was refused, for people.
#[derive(Debug, Default)]
pub struct Story(Mutex<Option<String>>);

impl Story {
    /// What was said last.
    pub fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn say(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }
}

/// See the module.
pub struct Follower {
    origin: Origin,
    /// In force.
    config: Config,
    /// What the last attempt gave, right or wrong: the same again is no news.
    last: Result<Config, ConfigError>,
    reach: Reach,
}

impl Follower {
    /// Follows from `config`, which is in force.
    pub fn new(origin: Origin, config: Config, reach: Reach) -> Follower {
        Follower { origin, last: Ok(config.clone()), config, reach }
    }

    /// Follows for ever.
    pub async fn follow(mut self, mut hangup: Hangup) {
        let changed = Arc::new(Notify::new());
        let mut watching = self.watch(&changed);
        loop {
            let asked = tokio::select! {
                () = hangup.asked() => true,
                () = changed.notified() => {
                    settle(&changed).await;
                    false
                }
            };
            self.reload(asked).await;
            // The file may lie elsewhere now.
            if let Some(watching) = &mut watching {
                watching.again();
            }
        }
    }

    fn watch(&self, changed: &Arc<Notify>) -> Option<Watching> {
        let file = self.origin.file.as_ref()?;
        match Watching::start(file, Arc::clone(changed)) {
            Ok(watching) => Some(watching),
            Err(error) => {
                tracing::warn!("cannot watch {} for changes: {error}; SIGHUP reloads it", file.display());
                None
            }
        }
    }

    async fn reload(&mut self, asked: bool) {
        let Origin { mut request, variables, file } = self.origin.clone();
        // What was there at start and is gone is a mistake, not the wish for the defaults.
        request.file = file.or(request.file);
        // Not on this thread: a file on a filesystem that does not answer must not hold up the scrapes.
        let loaded = tokio::task::spawn_blocking(move || load(request, &variables)).await;
        let Ok(loaded) = loaded else { return };
        let outcome = loaded.as_ref().map(|loaded| loaded.config.clone()).map_err(Clone::clone);
        let news = outcome != self.last;
        let was_wrong = std::mem::replace(&mut self.last, outcome).is_err();
        match loaded {
            Err(error) => {
                self.reach.reloads.failed();
                if news || asked {
                    tracing::error!(
                        "the new configuration is refused, the one before stays in force: {error}"
                    );
                    self.reach.story.say(format!("refused: {error}"));
                }
            }
            Ok(loaded) if news || was_wrong || asked => self.apply(loaded).await,
            Ok(_) => {}
        }
    }

    async fn apply(&mut self, loaded: Loaded) {
        let Compared { config, changed, restart } = compare(&self.config, loaded.config);
        if !restart.is_empty() {
            tracing::warn!(
                "restart the agent for the new value of {}; the old one stays",
                restart.join(", ")
            );
        }
        // Before the scan that shows the change, which begins as soon as the judge knows.
        self.reach.reloads.succeeded(clock::now().wall);
        let change = agent::change(&self.config, &config);
        self.tell_judge(Message::Change(change)).await;
        self.reach.log.set(config.log.level);
        self.reach.health.set_interval(Ns::from(config.interval));
        self.config = config;
        let file = loaded.file.map_or_else(|| "none".to_owned(), |file| file.display().to_string());
        let what = if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") };
        tracing::info!("configuration reloaded: {file}; changed: {what}");
        let mut story = format!("changed: {what}");
        if !restart.is_empty() {
            story.push_str(&format!("; needs a restart: {}", restart.join(", ")));
        }
        self.reach.story.say(story);
    }

    /// Waits while the queue is full: a change is not lost because a collector is slow.
    async fn tell_judge(&self, mut message: Message) {
        while let Err(TrySendError::Full(back)) = self.reach.judge.try_send(message) {
            message = back;
            tokio::time::sleep(judging::RETRY).await;
        }
    }
}

/// Waits until nothing has happened for a while.
async fn settle(changed: &Notify) {
    let quiet = async { while tokio::time::timeout(QUIET, changed.notified()).await.is_ok() {} };
    let _busy_folder = tokio::time::timeout(QUIET_AT_MOST, quiet).await;
}
