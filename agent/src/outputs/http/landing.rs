//! What a browser is shown.

/// A small page that says what is where.
pub fn page() -> String {
    format!(
        "<!DOCTYPE html>\n\
         <html lang=\"en\"><head><meta charset=\"utf-8\"><title>procagent</title></head><body>\n\
         <h1>procagent</h1>\n\
         <p>Version {version}, revision {revision}. Watches the processes of this host.</p>\n\
         <ul>\n\
         <li><a href=\"/metrics\">/metrics</a>: the numbers of the last scan, for Prometheus \
         (OpenMetrics 1.0.0 or text 0.0.4)</li>\n\
         <li><a href=\"/-/healthy\">/-/healthy</a>: whether scans are finished in time</li>\n\
         <li><a href=\"/-/ready\">/-/ready</a>: whether the first scan is finished</li>\n\
         </ul>\n\
         </body></html>\n",
        version = crate::VERSION,
        revision = crate::REVISION,
    )
}
