//! Questions to the judge, and how to ask them without waiting for ever.

use super::judging::Message;
use crate::explanation::Explanation;
use crate::judge::{Judge, Standing};
use crate::outputs::http::Health;
use procagent_core::process::Pid;
use std::fmt;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long an answer is waited for.
const DEADLINE: Duration = Duration::from_secs(2);

/// A question, with the way back for its answer. Answering takes no I/O and no waiting.
pub enum Question {
    /// Why a process counts where it does; `None` when there is no such process.
    Explain(Pid, oneshot::Sender<Option<Explanation>>),
    /// How much there is.
    Standing(oneshot::Sender<Standing>),
}

impl Question {
    /// Answers, unless nobody waits any more.
    pub fn answer(self, judge: &Judge) {
        match self {
            Question::Explain(pid, reply) if !reply.is_closed() => {
                let _gone_meanwhile = reply.send(judge.explain(pid));
            }
            Question::Standing(reply) if !reply.is_closed() => {
                let _gone_meanwhile = reply.send(judge.standing());
            }
            _ => {}
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// Too many questions wait already.
    Busy,
    /// None came in time; what the agent's health check says of it.
    Late(String),
    /// The judge has ended.
    Gone,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unanswered::Busy => f.write_str("too many questions wait already; try again"),
            Unanswered::Late(why) => {
                write!(f, "no answer within {} s: {why}", DEADLINE.as_secs())
            }
            Unanswered::Gone => f.write_str("the agent is about to end"),
        }
    }
}

/// Asks the judge.
#[derive(Clone, Debug)]
pub struct Asker {
    judge: SyncSender<Message>,
    health: Health,
}

impl Asker {
    /// Sends questions into this queue.
    pub fn new(judge: SyncSender<Message>, health: Health) -> Asker {
        Asker { judge, health }
    }

    /// Asks, and waits for the answer for two seconds at most.
    pub async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Question,
    ) -> Result<T, Unanswered> {
        let (reply, answer) = oneshot::channel();
        match self.judge.try_send(Message::Ask(question(reply))) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(Unanswered::Busy),
            Err(TrySendError::Disconnected(_)) => return Err(Unanswered::Gone),
        }
        match tokio::time::timeout(DEADLINE, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Unanswered::Gone),
            Err(_) => Err(Unanswered::Late(format!(
                "a collector hangs, or the machine is overloaded; the last scan was judged {:.0} s ago",
                self.health.silence().as_secs_f64()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use procagent_core::time::{Ns, Timestamp};
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;
    use std::sync::mpsc::sync_channel;

    /// A judge that hangs does not take who asks it along.
    #[test]
    fn a_judge_that_hangs_is_not_waited_for_long() {
        let (judge, queue) = sync_channel(1);
        let now = || Timestamp { mono: Ns::from_secs(90), ..Timestamp::default() };
        let health = Health::new(Arc::new(AtomicU64::new(0)), Ns::from_secs(5), now);
        let asker = Asker::new(judge, health);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let late = asker.ask(Question::Standing).await.unwrap_err().to_string();
            assert!(late.starts_with("no answer within 2 s: a collector hangs"), "{late}");
            assert!(late.contains("90 s ago"), "{late}");
            let busy = asker.ask(Question::Standing).await.unwrap_err();
            assert!(matches!(busy, Unanswered::Busy), "the first question is still in the queue");
            drop(queue);
            let gone = asker.ask(Question::Standing).await.unwrap_err();
            assert!(matches!(gone, Unanswered::Gone));
        });
    }
}
