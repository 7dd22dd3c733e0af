//! `procagent doctor`: what can be read here, what not, and what would help. A report, not a judgement: it fails only
//! where /proc itself cannot be read.

mod examine;
mod report;
mod survey;

pub use report::{Counted, Example, Report};

use super::{Failure, print, print_json};
use crate::cli::Doctor;
use crate::config::{Request, Variables, load};

/// Looks and prints.
pub fn run(options: &Doctor) -> Result<(), Failure> {
    let request =
        Request { file: options.config.clone(), host_root: options.host_root.clone(), ..Request::default() };
    let loaded = load(request, &Variables::of_this_process())?;
    let report = examine::examine(&loaded)?;
    if options.json { print_json(&report) } else { print(&report.text()) }
}
