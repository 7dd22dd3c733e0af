//! What is found under which path of the control socket.

use super::{Reader, Status};
use crate::agent::judging::Reloads;
use crate::agent::questions::{Asker, Question, Unanswered};
use crate::agent::scanning::Counts;
use crate::outputs::http::answer::Answer;
use crate::outputs::http::{Health, server};
use crate::reload::Story;
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, StatusCode};
use procagent_core::process::Pid;
use procagent_core::time::Ns;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What the agent can say of itself.
pub struct Site {
    /// Asks the judge.
    pub asker: Asker,
    /// Whether scans are judged in time.
    pub health: Health,
    /// When the agent started, wall clock.
    pub started: Ns,
    /// What the scan thread counts.
    pub counts: Arc<Counts>,
    /// How the configuration fares.
    pub reloads: Arc<Reloads>,
    /// The same for people.
    pub story: Arc<Story>,
    /// The configuration's file.
    pub file: Option<PathBuf>,
    /// Tries what can be read of a process.
    pub reader: Reader,
}

impl server::Site for Site {
    async fn answer(&self, request: &Request<Incoming>) -> Answer {
        if request.method() != Method::GET {
            return Answer::text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n")
                .with(ALLOW, HeaderValue::from_static("GET"));
        }
        let answer = match request.uri().path() {
            "/status" => self.status().await,
            "/explain" => self.explain(request.uri().query()).await,
            _ => {
                return Answer::text(
                    StatusCode::NOT_FOUND,
                    "not found; there are /status and /explain?pid=N\n",
                );
            }
        };
        answer.unwrap_or_else(|unanswered| {
            Answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("{unanswered}\n"))
        })
    }
}

impl Site {
    async fn status(&self) -> Result<Answer, Unanswered> {
        let standing = self.asker.ask(Question::Standing).await?;
        let reloads = self.reloads.state();
        Ok(json(&Status {
            version: crate::VERSION.to_owned(),
            revision: crate::REVISION.to_owned(),
            started: self.started.as_secs_f64(),
            scans: self.counts.done.load(Ordering::Relaxed),
            scans_missed: self.counts.missed.load(Ordering::Relaxed),
            scans_failed: self.counts.failed.load(Ordering::Relaxed),
            scan_age: self.health.silence().as_secs_f64(),
            processes: standing.processes as u64,
            groups: standing.groups as u64,
            groups_folded: standing.folded as u64,
            series: standing.series as u64,
            config: self.file.clone(),
            config_loaded: reloads.time.map(Ns::as_secs_f64),
            config_success: reloads.success,
            config_change: self.story.last(),
            warning: self.health.check().err(),
        }))
    }

    async fn explain(&self, query: Option<&str>) -> Result<Answer, Unanswered> {
        let pid = query.and_then(|query| query.strip_prefix("pid="));
        let Some(pid) = pid.and_then(|pid| pid.parse().ok()).map(Pid) else {
            return Ok(Answer::text(StatusCode::BAD_REQUEST, "name a process: /explain?pid=N\n"));
        };
        let Some(mut explanation) = self.asker.ask(|reply| Question::Explain(pid, reply)).await? else {
            let text = format!("the last scan saw no process {pid}\n");
            return Ok(Answer::text(StatusCode::NOT_FOUND, text));
        };
        self.reader.add_to(&mut explanation).await;
        if let Err(why) = self.health.check() {
            explanation.warning = Some(why);
        }
        Ok(json(&explanation))
    }
}

fn json(value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(body) => Answer::new(StatusCode::OK, JSON, body),
        Err(error) => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}
