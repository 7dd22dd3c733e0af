//! Which script an interpreter runs, from its arguments.

use super::{COMM_MAX, CommandLine, base_name};

/// Arguments beyond these are not looked at.
const ARGUMENTS_MAX: usize = 32;

/// A program that runs another file named in its arguments, and what its options mean (its manual page).
struct Interpreter {
    /// Names without version suffixes.
    names: &'static [&'static str],
    /// Options after which there is no script: code follows, or standard input is read.
    code: &'static [u8],
    /// Options with a value, in the same argument or the next one.
    value: &'static [u8],
    /// Options whose value, if any, is in the same argument.
    attached: &'static [u8],
    /// The option that names what is run.
    runs: Option<u8>,
    /// Long options after which there is no script.
    long_code: &'static [&'static str],
    /// Long options whose value is the next argument.
    long_value: &'static [&'static str],
}

const INTERPRETERS: [Interpreter; 9] = [
    Interpreter {
        names: &["python", "pypy"],
        code: b"c",
        value: b"WX",
        attached: b"",
        runs: Some(b'm'),
        long_code: &[],
        long_value: &["--check-hash-based-pycs"],
    },
    Interpreter {
        names: &["perl"],
        code: b"eE",
        value: b"I",
        attached: b"CDFiMmxV",
        runs: None,
        long_code: &[],
        long_value: &[],
    },
    Interpreter {
        names: &["ruby"],
        code: b"e",
        value: b"CEIr",
        attached: b"FKTWix",
        runs: None,
        long_code: &[],
        long_value: &["--encoding", "--external-encoding", "--internal-encoding"],
    },
    Interpreter {
        names: &["node", "nodejs"],
        code: b"ep",
        value: b"Cr",
        attached: b"",
        runs: None,
        long_code: &["--eval", "--print"],
        long_value: &["--require", "--import", "--loader", "--experimental-loader", "--conditions"],
    },
    Interpreter {
        names: &["php"],
        code: b"BREr",
        value: b"Scdtz",
        attached: b"",
        runs: Some(b'f'),
        long_code: &["--run"],
        long_value: &["--php-ini", "--define"],
    },
    Interpreter {
        names: &["lua", "luajit"],
        code: b"",
        value: b"bejl",
        attached: b"O",
        runs: None,
        long_code: &[],
        long_value: &[],
    },
    Interpreter {
        names: &["tclsh"],
        code: b"",
        value: b"",
        attached: b"",
        runs: None,
        long_code: &[],
        long_value: &["-encoding"],
    },
    Interpreter {
        names: &["Rscript"],
        code: b"e",
        value: b"",
        attached: b"",
        runs: None,
        long_code: &[],
        long_value: &[],
    },
    Interpreter {
        names: &["sh", "bash", "dash", "zsh", "ksh", "busybox"],
        code: b"cs",
        value: b"oO",
        attached: b"",
        runs: None,
        long_code: &[],
        long_value: &["--rcfile", "--init-file"],
    },
];

/// The base name of the script that an interpreter runs. A `#!` script is certain, for the kernel names the
/// process after the script; `python3 app.py` is recognised by the interpreter's name.
pub(super) fn script_name<'a>(
    comm: &[u8],
    exe_name: Option<&[u8]>,
    argv: &'a CommandLine,
) -> Option<&'a [u8]> {
    let program = exe_name.or_else(|| argv.args().next().map(base_name))?;
    let (argument, by_option) = interpreter(program)?.runs(argv)?;
    // An open descriptor, as of `bash <(...)`, has a number and no name.
    if argument.starts_with(b"/dev/fd/") || argument.starts_with(b"/proc/self/fd/") {
        return None;
    }
    let script = Some(base_name(argument)).filter(|name| !name.is_empty())?;
    let sure = &script[..script.len().min(COMM_MAX)] == comm;
    (sure || by_option || interpreter(comm).is_some()).then_some(script)
}

fn interpreter(name: &[u8]) -> Option<&'static Interpreter> {
    let name = std::str::from_utf8(name).ok()?;
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    INTERPRETERS.iter().find(|interpreter| interpreter.names.contains(&stem))
}

impl Interpreter {
    /// What is run, and whether an option says so.
    fn runs<'a>(&self, argv: &'a CommandLine) -> Option<(&'a [u8], bool)> {
        let mut arguments = argv.args().skip(1).take(ARGUMENTS_MAX);
        while let Some(argument) = arguments.next() {
            let listed = |options: &[&str]| options.iter().any(|option| option.as_bytes() == argument);
            match argument {
                b"--" => return arguments.next().map(|script| (script, false)),
                b"-" => return None,
                _ if listed(self.long_code) => return None,
                _ if listed(self.long_value) => drop(arguments.next()),
                [b'-', b'-', ..] => {}
                [b'-', letters @ ..] => match self.letters(letters) {
                    Letters::Flags => {}
                    Letters::Code => return None,
                    Letters::ValueNext => drop(arguments.next()),
                    Letters::RunsNext => return arguments.next().map(|module| (module, true)),
                    Letters::Runs(module) => return Some((module, true)),
                },
                script => return Some((script, false)),
            }
        }
        None
    }

    /// What several options in one argument, as in `-xe`, mean for the next ones.
    fn letters<'a>(&self, letters: &'a [u8]) -> Letters<'a> {
        for (index, letter) in letters.iter().enumerate() {
            let rest = &letters[index + 1..];
            if self.code.contains(letter) {
                return Letters::Code;
            }
            if self.runs == Some(*letter) {
                return if rest.is_empty() { Letters::RunsNext } else { Letters::Runs(rest) };
            }
            if self.value.contains(letter) {
                return if rest.is_empty() { Letters::ValueNext } else { Letters::Flags };
            }
            if self.attached.contains(letter) {
                return Letters::Flags;
            }
        }
        Letters::Flags
    }
}

enum Letters<'a> {
    Flags,
    Code,
    ValueNext,
    RunsNext,
    Runs(&'a [u8]),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a command runs, as far as its own name tells.
    fn runs(command: &str) -> Option<String> {
        let argv = CommandLine::new(command.replace(' ', "\0").as_bytes());
        let program = command.split(' ').next().unwrap();
        script_name(program.as_bytes(), None, &argv).map(|name| String::from_utf8_lossy(name).into_owned())
    }

    #[test]
    fn options_are_those_of_each_interpreter() {
        for (command, want) in [
            ("python3 -O app.py", Some("app.py")),
            ("python3 -I -E -s app.py", Some("app.py")),
            ("python3.11 -OO -u -Wignore -W error -X dev /srv/app.py -c x", Some("app.py")),
            ("python3 -um http.server", Some("http.server")),
            ("python3 -mhttp.server", Some("http.server")),
            ("python3 -Oc pass", None),
            ("python3 -", None),
            ("python3", None),
            ("perl -w -I /lib -MList::Util=first /x/job.pl", Some("job.pl")),
            ("perl -lane print", None),
            ("perl -i.bak -e 1", None),
            ("perl -s tool.pl -E", Some("tool.pl")),
            ("ruby -r json -E UTF-8 server.rb", Some("server.rb")),
            ("ruby -ne puts", None),
            ("node --max-old-space-size=64 -r ./trace.js server.js", Some("server.js")),
            ("node --import ./x.mjs server.js", Some("server.js")),
            ("node --eval 1 x.js", None),
            ("node -pe 1", None),
            ("php -c /etc/php.ini -d a=b job.php", Some("job.php")),
            ("php -f job.php", Some("job.php")),
            ("php -r phpinfo();", None),
            ("lua -l socket -e x=1 main.lua", Some("main.lua")),
            ("luajit -O3 main.lua", Some("main.lua")),
            ("tclsh -encoding utf-8 a.tcl", Some("a.tcl")),
            ("Rscript --vanilla a.R", Some("a.R")),
            ("Rscript -e 1", None),
            ("bash -x -o pipefail run.sh", Some("run.sh")),
            ("bash --rcfile x run.sh", Some("run.sh")),
            ("bash -lc /x/y", None),
            ("sh -ec ls", None),
            ("sh -s x", None),
            ("bash /dev/fd/63", None),
            ("sh -- -odd.sh", Some("-odd.sh")),
            ("nothing -x a.py", None),
        ] {
            assert_eq!(runs(command).as_deref(), want, "{command}");
        }
    }
}
