//! Asks a running agent. Plain blocking I/O with deadlines: commands have nothing else to do.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long each step may take: longer than the agent itself waits for its judge.
const DEADLINE: Duration = Duration::from_secs(5);

/// An answer is never longer.
const ANSWER_MAX: u64 = 16 << 20;

/// Why there is no answer.
#[derive(Debug)]
pub enum AskError {
    /// No agent serves this socket.
    NoAgent(io::Error),
    /// One does, and the answer did not come through.
    Broken(io::Error),
    /// It answered that it cannot, with this status and these words.
    Refused(u16, String),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::NoAgent(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                write!(f, "the agent there answers its own user and root only: {error}")
            }
            AskError::NoAgent(error) => write!(f, "no agent answers there: {error}"),
            AskError::Broken(error) => write!(f, "the agent does not answer: {error}"),
            AskError::Refused(_, text) => write!(f, "the agent says: {}", text.trim_end()),
        }
    }
}

/// GETs a path from the agent that serves this socket; the body of its answer.
///
/// # Errors
/// See [`AskError`].
pub fn get(socket: &Path, path: &str) -> Result<String, AskError> {
    let mut stream = UnixStream::connect(socket).map_err(AskError::NoAgent)?;
    let answer = converse(&mut stream, path).map_err(AskError::Broken)?;
    match parse(&answer) {
        Some((200, body)) => Ok(body.to_owned()),
        Some((status, body)) => Err(AskError::Refused(status, body.to_owned())),
        None => {
            Err(AskError::Broken(io::Error::new(io::ErrorKind::InvalidData, "this is no agent's answer")))
        }
    }
}

fn converse(stream: &mut UnixStream, path: &str) -> io::Result<String> {
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    // HTTP 1.0: the answer comes in one piece and ends with the connection.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
    String::from_utf8(answer).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn parse(answer: &str) -> Option<(u16, &str)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    Some((status.parse().ok()?, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        assert_eq!(parse("HTTP/1.0 200 OK\r\nx: y\r\n\r\n{}\r\n\r\n"), Some((200, "{}\r\n\r\n")));
        assert_eq!(parse("HTTP/1.1 404 Not Found\r\n\r\n"), Some((404, "")));
        for wrong in ["", "HTTP/1.0 200 OK\r\n", "SSH-2.0\r\n\r\n", "HTTP/1.0 abc\r\n\r\n"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn nobody_there() {
        let folder = tempfile::tempdir().unwrap();
        let error = get(&folder.path().join("none"), "/status").unwrap_err();
        assert!(matches!(error, AskError::NoAgent(_)), "{error}");
    }
}
