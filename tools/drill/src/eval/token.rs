//! From text to logical lines of tokens: brackets and backslashes join lines, `#` begins a comment.

use super::EvalError;

/// A statement's or several statements' tokens, as Python counts lines.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Columns of blanks before it; none for what stands on the line of the `%{`.
    pub(super) indent: usize,
    pub(super) tokens: Vec<Token>,
}

/// A token and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) line: usize,
    /// First byte in the text.
    pub(super) start: usize,
    /// The byte behind it.
    pub(super) end: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Int(i128),
    Float(f64),
    Text(String),
    Name(String),
    Sign(&'static str),
}

/// Operators and signs, longer ones before their beginnings.
const SIGNS: [&str; 47] = [
    "**=", "//=", "<<=", ">>=", "**", "//", "<<", ">>", "<=", ">=", "==", "!=", "<>", "+=", "-=", "*=", "/=",
    "%=", "&=", "|=", "^=", ":=", "->", "+", "-", "*", "/", "%", "&", "|", "^", "~", "<", ">", "=", "(", ")",
    "[", "]", "{", "}", ",", ":", ";", ".", "!", "@",
];

/// The logical lines of a block that hold anything.
pub(super) fn lines(text: &str) -> Result<Vec<Line>, EvalError> {
    let mut reader = Reader { text, at: 0, line: 0 };
    let mut lines = Vec::new();
    while let Some(line) = reader.logical_line()? {
        lines.push(line);
    }
    Ok(lines)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn error(&self, message: impl Into<String>) -> EvalError {
        EvalError::new(self.line, message)
    }

    /// The next logical line with tokens in it.
    fn logical_line(&mut self) -> Result<Option<Line>, EvalError> {
        let mut tokens = Vec::new();
        let mut indent = 0;
        let mut open = 0usize;
        while let Some(c) = self.peek() {
            match c {
                '\n' => {
                    self.at += 1;
                    self.line += 1;
                    if !tokens.is_empty() && open == 0 {
                        return Ok(Some(Line { indent, tokens }));
                    }
                }
                '#' => self.at += self.rest().find('\n').unwrap_or(self.rest().len()),
                '\\' if self.continues() => {}
                c if c.is_whitespace() => self.at += c.len_utf8(),
                _ => {
                    if tokens.is_empty() {
                        indent = self.indent();
                    }
                    let token = self.token()?;
                    match token.kind {
                        Kind::Sign("(" | "[" | "{") => open += 1,
                        Kind::Sign(")" | "]" | "}") => open = open.saturating_sub(1),
                        _ => {}
                    }
                    tokens.push(token);
                }
            }
        }
        Ok((!tokens.is_empty()).then_some(Line { indent, tokens }))
    }

    /// Takes a backslash that stands at the end of its line.
    fn continues(&mut self) -> bool {
        let Some(behind) = self.rest().strip_prefix('\\') else { return false };
        let blanks = behind.len() - behind.trim_start_matches([' ', '\t', '\r']).len();
        if behind[blanks..].is_empty() || behind[blanks..].starts_with('\n') {
            self.at = (self.at + 1 + blanks + 1).min(self.text.len());
            self.line += 1;
            return true;
        }
        false
    }

    /// Blanks before this place on its line.
    fn indent(&self) -> usize {
        self.text[..self.at].rfind('\n').map_or(0, |newline| self.at - newline - 1)
    }

    fn token(&mut self) -> Result<Token, EvalError> {
        let (start, line) = (self.at, self.line);
        let first = self.peek().unwrap_or(' ');
        let second = self.rest().chars().nth(1);
        let number = first.is_ascii_digit() || (first == '.' && second.is_some_and(|c| c.is_ascii_digit()));
        let kind = if number {
            self.number()?
        } else if first == '"' || first == '\'' {
            Kind::Text(self.string(false)?)
        } else if first.is_alphabetic() || first == '_' {
            self.name_or_string()?
        } else if let Some(sign) = SIGNS.iter().find(|sign| self.rest().starts_with(**sign)) {
            self.at += sign.len();
            Kind::Sign(sign)
        } else {
            return Err(self.error(format!("`{first}` is no sign of the language")));
        };
        Ok(Token { kind, line, start, end: self.at })
    }

    fn name_or_string(&mut self) -> Result<Kind, EvalError> {
        let rest = self.rest();
        let name =
            rest[..rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())].to_owned();
        self.at += name.len();
        let quoted = matches!(self.peek(), Some('"' | '\''));
        if quoted && name.len() <= 2 && name.chars().all(|c| "rRbBuUfF".contains(c)) {
            return Ok(Kind::Text(self.string(name.contains(['r', 'R']))?));
        }
        Ok(Kind::Name(name))
    }

    fn number(&mut self) -> Result<Kind, EvalError> {
        let rest = self.rest();
        let mut end = 0;
        let mut exponent = false;
        let hexadecimal = rest.starts_with("0x") || rest.starts_with("0X");
        for c in rest.chars() {
            let sign = exponent && matches!(c, '+' | '-');
            if !(c.is_ascii_alphanumeric() || c == '_' || c == '.' || sign) {
                break;
            }
            exponent = !hexadecimal && matches!(c, 'e' | 'E');
            end += 1;
        }
        let written = rest[..end].to_owned();
        self.at += end;
        super::number::number(&written).ok_or_else(|| self.error(format!("`{written}` is no number")))
    }

    /// A string in quotes of either kind, single or triple; `raw` leaves its backslashes.
    fn string(&mut self, raw: bool) -> Result<String, EvalError> {
        let start = self.line;
        let quote = &self.rest()[..1];
        let triple = quote.repeat(3);
        let quote = if self.rest().starts_with(&triple) { triple } else { quote.to_owned() };
        self.at += quote.len();
        let mut text = String::new();
        loop {
            if self.rest().starts_with(&quote) {
                self.at += quote.len();
                return Ok(text);
            }
            let Some(c) = self.peek().filter(|&c| c != '\n' || quote.len() == 3) else {
                return Err(EvalError::new(start, "a string without its closing quote"));
            };
            self.at += c.len_utf8();
            self.line += usize::from(c == '\n');
            if c == '\\' && !raw {
                let Some(escaped) = self.peek() else { continue };
                self.at += escaped.len_utf8();
                match escaped {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    '\n' => self.line += 1,
                    other => text.push(other),
                }
            } else {
                text.push(c);
            }
        }
    }
}
