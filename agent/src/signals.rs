//! How the system asks the agent to end, and to load its configuration anew.

#[cfg(not(unix))]
use other as system;
#[cfg(unix)]
use unix as system;

pub use system::{Hangup, Stop};

/// signal(7).
#[cfg(unix)]
mod unix {
    use std::io;
    use tokio::signal::unix::{Signal, SignalKind, signal};

    /// SIGTERM and SIGINT.
    #[derive(Debug)]
    pub struct Stop {
        terminate: Signal,
        interrupt: Signal,
    }

    impl Stop {
        /// From now on they do not end the program by themselves.
        pub fn handle() -> io::Result<Stop> {
            let terminate = signal(SignalKind::terminate())?;
            Ok(Stop { terminate, interrupt: signal(SignalKind::interrupt())? })
        }

        /// Waits for one.
        pub async fn asked(&mut self) {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
        }
    }

    /// SIGHUP.
    #[derive(Debug)]
    pub struct Hangup(Signal);

    impl Hangup {
        /// From now on it does not end the program.
        pub fn handle() -> io::Result<Hangup> {
            signal(SignalKind::hangup()).map(Hangup)
        }

        /// Waits for one.
        pub async fn asked(&mut self) {
            self.0.recv().await;
        }
    }
}

/// Windows knows Ctrl-C, and nothing like SIGHUP.
#[cfg(not(unix))]
mod other {
    use std::io;

    /// Ctrl-C.
    #[derive(Debug)]
    pub struct Stop(());

    impl Stop {
        /// Nothing has to be set up.
        pub fn handle() -> io::Result<Stop> {
            Ok(Stop(()))
        }

        /// Waits for it; where it cannot be waited for, the system ends the program by itself.
        pub async fn asked(&mut self) {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Never comes.
    #[derive(Debug)]
    pub struct Hangup(());

    impl Hangup {
        /// Nothing has to be set up.
        pub fn handle() -> io::Result<Hangup> {
            Ok(Hangup(()))
        }

        /// Waits for ever.
        pub async fn asked(&mut self) {
            std::future::pending().await
        }
    }
}
