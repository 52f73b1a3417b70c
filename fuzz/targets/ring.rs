//! Any bytes as what tracefs says of its events and as a page of them: no page is read beyond its
//! end, and what is understood of it can be told of a census.
//!
//! Input: events/header_page and the format files of signal_generate, task_newtask, task_rename,
//! sched_process_exec and sched_process_exit, each with a NUL behind it; then the page.

#![no_main]

use libfuzzer_sys::fuzz_target;
use supervise::Moment;
use supervise::attribution::census::Census;
use supervise::attribution::ring::{Format, Layout};
use supervise::attribution::tracepoint::{
    EXEC, EXIT, Formats, RENAME, Record, SIGNAL, TASK, Unfit,
};

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(7, |&byte| byte == 0);
    let mut text = || parts.next().map(|part| String::from_utf8_lossy(part).into_owned());
    let Some(header) = text() else { return };
    let order = [SIGNAL, TASK, RENAME, EXEC, EXIT];
    let texts: Vec<String> = order.iter().map_while(|_| text()).collect();
    let Some(page) = parts.next() else { return };
    let Some(layout) = Layout::parse(&header) else { return };
    let Ok(page) = layout.page(page) else { return };
    let formats: Vec<Format> = texts.iter().filter_map(|text| Format::parse(text)).collect();
    let known = Formats::parse(|name| {
        let place = order.iter().position(|other| *other == name).ok_or(Unfit(name))?;
        texts.get(place).cloned().ok_or(Unfit(name))
    });
    let mut census = Census::new(true);
    let mut read = 0;
    for event in page.events() {
        let Ok(event) = event else { break };
        read += event.bytes.len();
        for field in formats.iter().flat_map(Format::fields) {
            field.number(event.bytes);
            if let Some(text) = field.text(event.bytes) {
                assert!(text.len() <= event.bytes.len() && !text.contains(&0));
            }
        }
        let Ok(known) = &known else { continue };
        let at = Moment(event.at);
        match known.decode(&event) {
            Some(Record::Task { by, tid, name, kind }) => census.task(at, by, tid, &name, kind),
            Some(Record::Rename { tid, name }) => census.rename(at, tid, &name),
            Some(Record::Exec { pid, by, path }) => census.exec(at, pid, by, path),
            Some(Record::Exit { tid }) => census.exit(at, tid),
            Some(Record::Signal(signal)) => {
                let pid = census.process_of(signal.by).unwrap_or(signal.by);
                if let Some(known) = census.known(pid, at) {
                    assert_eq!(known.sender(None, false).pid, pid);
                }
            }
            None => {}
        }
    }
    assert!(read <= input.len());
});
