//! From the text of a packet script to its [`Script`]: recursive descent, a file for each kind of event.

mod call;
mod options;
mod packet;
mod time;

use crate::lexer::{Lexer, ParseError};
use crate::script::{Action, Command, Event, Script};

/// Reads a script. `name` is what errors call it.
pub fn parse(name: &str, text: &str) -> Result<Script, ParseError> {
    let mut lexer = Lexer::new(name, text);
    let mut script = Script::default();
    loop {
        match lexer.peek() {
            Some('-') => script.options.push(option(&mut lexer)?),
            Some('`') => script.init.push(command(&mut lexer, "`", "`")?),
            _ => break,
        }
    }
    while !matches!(lexer.peek(), None | Some('`')) {
        script.events.push(event(&mut lexer)?);
    }
    while lexer.peek().is_some() {
        script.cleanup.push(command(&mut lexer, "`", "`")?);
    }
    Ok(script)
}

/// `--name=value`; the value goes to the end of the line, and may stand in quotes.
fn option(lexer: &mut Lexer<'_>) -> Result<(String, String), ParseError> {
    lexer.expect("--")?;
    let Some(name) = lexer.word() else { return Err(lexer.expected("the name of an option")) };
    lexer.expect("=")?;
    let value = lexer.line_end().trim_matches('"');
    Ok((name.to_owned(), value.to_owned()))
}

/// Text in backquotes, or in `%{ }%`.
fn command(lexer: &mut Lexer<'_>, open: &str, close: &str) -> Result<Command, ParseError> {
    let line = lexer.line();
    let text = lexer.between(open, close)?.to_owned();
    Ok(Command { line, text })
}

/// One event, from its time on.
fn event(lexer: &mut Lexer<'_>) -> Result<Event, ParseError> {
    let line = lexer.line();
    let start = lexer.position();
    let time = time::event_time(lexer)?;
    let action = match lexer.peek() {
        Some('<' | '>') => {
            let (direction, packet) = packet::packet(lexer)?;
            Action::Packet(direction, packet)
        }
        Some('`') => Action::Command(command(lexer, "`", "`")?),
        Some('%') => Action::Code(command(lexer, "%{", "}%")?),
        _ => Action::Call(call::call(lexer)?),
    };
    Ok(Event { line, text: lexer.since(start), time, action })
}

#[cfg(test)]
mod tests;
