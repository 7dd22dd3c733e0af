//! The one place where tests start programs, read files and look at the clock.
#![allow(clippy::disallowed_methods, reason = "what is forbidden to the agent is what tests are made of")]

use rustix::process::{Pid, Signal};
use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// A command line for `program`, with nothing on its standard input.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end. Panics when it does not even start.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"))
}

/// Standard output and error of a finished program, for messages.
pub fn said(output: &Output) -> String {
    format!(
        "{}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A running program. Killed and waited for when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
}

impl Program {
    /// Starts it. Panics when that fails.
    pub fn start(command: &mut Command) -> Program {
        Program { child: command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")) }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a pid")).expect("not 0");
        rustix::process::kill_process(pid, signal).expect("the program is there");
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    /// Waits for its end. Panics when it has not come in time.
    pub fn wait(&mut self, at_most: Duration) -> ExitStatus {
        wait_for(at_most, "the program to end", || self.ended())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Starts `program` so that it is called `name`, by a link in `folder`. What it prints is lost.
pub fn start_as(name: &[u8], folder: &Path, program: &str, args: &[&str]) -> Program {
    use std::os::unix::ffi::OsStrExt as _;
    let link = folder.join(OsStr::from_bytes(name));
    std::os::unix::fs::symlink(find(program).expect("every Debian has it"), &link).expect("the name is free");
    Program::start(command(link).args(args).stdout(Stdio::null()).stderr(Stdio::null()))
}

/// The program of this name on the search path.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Whether the tests run as root.
pub fn root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Asks again and again until there is an answer; panics when there is none in time.
pub fn wait_for<T>(at_most: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < at_most, "waited {at_most:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How long something takes.
pub fn time<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let result = what();
    (result, begun.elapsed())
}

/// Seconds since 1970.
pub fn wall() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("later than 1970").as_secs_f64()
}

/// A file as text; panics with its name.
pub fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A file as it is; panics with its name.
pub fn read_bytes(path: impl AsRef<Path>) -> Vec<u8> {
    let path = path.as_ref();
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A file as text, if it is there and can be read.
pub fn try_read(path: impl AsRef<Path>) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(path).ok()?.read_to_string(&mut text).ok()?;
    Some(text)
}

/// Writes a file in place: who has it open sees the new content. Panics with its name.
pub fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let path = path.as_ref();
    std::fs::write(path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// The names in a folder, sorted; panics with its name.
pub fn list(path: impl AsRef<Path>) -> Vec<String> {
    let path = path.as_ref();
    let entries = std::fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("listed").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Where a link points, if it is one that can be read.
pub fn link(path: impl AsRef<Path>) -> Option<PathBuf> {
    std::fs::read_link(path).ok()
}

/// A port of 127.0.0.1 that nobody listens on, below the range that outgoing connections take theirs from. No two
/// calls of one test program get the same; who starts a server on it asserts [`listener`] afterwards.
pub fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        // Test programs that run at the same time begin at different places.
        let port = 20_000 + (std::process::id().wrapping_mul(61).wrapping_add(step)) % 12_000;
        let port = u16::try_from(port).expect("below 32,000");
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Whether this process listens on this TCP port of 127.0.0.1 or of all addresses.
pub fn listener(pid: u32, port: u16) -> bool {
    let wanted = format!(":{port:04X}");
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| try_read(table).unwrap_or_default());
    // proc(5): sl, local address, remote address, state (0A is listening), ..., inode in the tenth column.
    let sockets: Vec<String> = tables
        .iter()
        .flat_map(|table| table.lines())
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|columns| columns.len() > 9 && columns[1].ends_with(&wanted) && columns[3] == "0A")
        .map(|columns| format!("socket:[{}]", columns[9]))
        .collect();
    let folder = PathBuf::from(format!("/proc/{pid}/fd"));
    let Ok(entries) = std::fs::read_dir(&folder) else { return false };
    entries
        .flatten()
        .filter_map(|entry| link(entry.path()))
        .any(|target| sockets.iter().any(|socket| target.as_os_str() == OsStr::new(socket)))
}

/// Holds the machine for one test that measures: no two of those run at once, in all test programs together.
pub fn alone() -> impl Drop {
    struct Alone(std::fs::File);
    impl Drop for Alone {
        fn drop(&mut self) {
            let _released = self.0.unlock();
        }
    }
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        // One a user: what root has made, others cannot open.
        .open(
            std::env::temp_dir()
                .join(format!("procagent-tests-{}.lock", rustix::process::geteuid().as_raw())),
        )
        .expect("the lock file opens");
    file.lock().expect("locks");
    Alone(file)
}
