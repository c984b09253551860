//! The words, numbers and signs of a packet script, read one after the other from its text.
//!
//! A packet line gives the same characters other meanings than a call does (`P.5` is a set of flags), so
//! there is no list of tokens: the parser asks for what may stand next. Before each, blanks and comments are
//! skipped: `// …`, `/* … */`, and a line that begins with `#`.

use core::fmt;

/// Why a text is no script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The name of the script, as it was given.
    pub name: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong: `expected …, found …`.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.name, self.line, self.column, self.message)
    }
}

impl std::error::Error for ParseError {}

/// A place in the text of a script.
#[derive(Clone, Debug)]
pub(crate) struct Lexer<'a> {
    name: &'a str,
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    /// The start of `text`, the script called `name`.
    pub(crate) fn new(name: &'a str, text: &'a str) -> Lexer<'a> {
        Lexer { name, text, at: 0 }
    }

    /// The place, in bytes from the start.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// What was written from `start` to here, in one line.
    pub(crate) fn since(&self, start: usize) -> String {
        self.text[start..self.at].split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The line of the next sign, from 1.
    pub(crate) fn line(&mut self) -> usize {
        self.skip();
        self.line_and_column().0
    }

    /// An error here.
    pub(crate) fn error(&mut self, message: impl Into<String>) -> ParseError {
        self.skip();
        let (line, column) = self.line_and_column();
        ParseError { name: self.name.to_owned(), line, column, message: message.into() }
    }

    /// The error that something else was expected here.
    pub(crate) fn expected(&mut self, what: &str) -> ParseError {
        let message = format!("expected {what}, found {}", self.found());
        self.error(message)
    }

    /// What stands here, for an error.
    fn found(&mut self) -> String {
        self.skip();
        let rest = self.rest();
        let word = rest.split(|c: char| c.is_whitespace()).next().unwrap_or("");
        match word.char_indices().nth(24) {
            _ if rest.is_empty() => "the end of the script".to_owned(),
            Some((end, _)) => format!("`{}…`", &word[..end]),
            None => format!("`{word}`"),
        }
    }

    fn line_and_column(&self) -> (usize, usize) {
        let before = &self.text[..self.at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The text from here on.
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Skips blanks and comments. A comment that does not end is left, for an error to point at.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let blanks = rest.len() - rest.trim_start().len();
            self.at += blanks;
            let rest = self.rest();
            let comment = if rest.starts_with("//") || (rest.starts_with('#') && self.begins_line()) {
                rest.find('\n').unwrap_or(rest.len())
            } else if let Some(body) = rest.strip_prefix("/*") {
                body.find("*/").map_or(0, |end| end + 4)
            } else {
                0
            };
            if comment == 0 {
                return;
            }
            self.at += comment;
        }
    }

    /// Whether only blanks stand before this place on its line.
    fn begins_line(&self) -> bool {
        self.text[..self.at].rsplit('\n').next().is_none_or(|line| line.trim().is_empty())
    }

    /// The next sign that is no blank, without taking it.
    pub(crate) fn peek(&mut self) -> Option<char> {
        self.skip();
        self.rest().chars().next()
    }

    /// Whether the text goes on with `sign`.
    pub(crate) fn at(&mut self, sign: &str) -> bool {
        self.skip();
        self.rest().starts_with(sign)
    }

    /// Takes `sign` if it is next.
    pub(crate) fn eat(&mut self, sign: &str) -> bool {
        let found = self.at(sign);
        if found {
            self.at += sign.len();
        }
        found
    }

    /// Takes `sign`, or fails.
    pub(crate) fn expect(&mut self, sign: &str) -> Result<(), ParseError> {
        if self.eat(sign) { Ok(()) } else { Err(self.expected(&format!("`{sign}`"))) }
    }

    /// Takes a name if one is next: letters, digits and `_`, not beginning with a digit.
    pub(crate) fn word(&mut self) -> Option<&'a str> {
        self.skip();
        let word = self.peek_word();
        self.at += word.len();
        (!word.is_empty()).then_some(word)
    }

    fn peek_word(&self) -> &'a str {
        let rest = self.rest();
        if rest.starts_with(|c: char| c.is_ascii_digit()) {
            return "";
        }
        leading(rest, |c| c.is_ascii_alphanumeric() || c == '_')
    }

    /// Takes the word `keyword` if it is next, and is not just the beginning of a longer one.
    pub(crate) fn eat_word(&mut self, keyword: &str) -> bool {
        self.skip();
        let found = self.peek_word() == keyword;
        if found {
            self.at += keyword.len();
        }
        found
    }

    /// Takes characters that `wanted` holds of; they may be none.
    pub(crate) fn run(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        self.skip();
        let run = leading(self.rest(), wanted);
        self.at += run.len();
        run
    }

    /// Takes what stands between `open`, which is next, and the first `close`.
    pub(crate) fn between(&mut self, open: &str, close: &str) -> Result<&'a str, ParseError> {
        self.expect(open)?;
        let rest = self.rest();
        let Some(end) = rest.find(close) else {
            self.at -= open.len();
            return Err(self.error(format!("`{open}` without its `{close}`")));
        };
        self.at += end + close.len();
        Ok(&rest[..end])
    }

    /// Takes what stands to the end of the line, comment apart.
    pub(crate) fn line_end(&mut self) -> &'a str {
        let rest = self.rest();
        let line = leading(rest, |c| c != '\n');
        self.at += line.len();
        line.split("//").next().unwrap_or("").trim()
    }

    /// Takes a number without sign, decimal or hexadecimal with `0x`.
    pub(crate) fn unsigned(&mut self, what: &str) -> Result<u64, ParseError> {
        self.skip();
        let start = self.at;
        let hexadecimal = self.rest().get(..2).is_some_and(|prefix| prefix.eq_ignore_ascii_case("0x"));
        let (radix, digits) = if hexadecimal {
            self.at += 2;
            (16, leading(self.rest(), |c| c.is_ascii_hexdigit()))
        } else {
            (10, leading(self.rest(), |c| c.is_ascii_digit()))
        };
        self.at += digits.len();
        u64::from_str_radix(digits, radix).map_err(|_| {
            let empty = digits.is_empty();
            self.at = start;
            if empty { self.expected(what) } else { self.error(format!("{what} out of range")) }
        })
    }

    /// Takes a number that fits `T`.
    pub(crate) fn number<T: TryFrom<u64>>(&mut self, what: &str) -> Result<T, ParseError> {
        self.skip();
        let start = self.at;
        let number = self.unsigned(what)?;
        T::try_from(number).map_err(|_| {
            self.at = start;
            self.error(format!("{what} out of range"))
        })
    }

    /// Takes a decimal with an optional fraction: the digits before the point and those behind. `0...` is a
    /// zero and an ellipsis.
    pub(crate) fn decimal(&mut self) -> Option<(&'a str, &'a str)> {
        self.skip();
        let rest = self.rest();
        let whole = leading(rest, |c| c.is_ascii_digit());
        let behind = &rest[whole.len()..];
        let fraction = match behind.strip_prefix('.') {
            Some(fraction) if !fraction.starts_with('.') => leading(fraction, |c| c.is_ascii_digit()),
            _ => "",
        };
        let point =
            usize::from(behind.starts_with('.') && (!fraction.is_empty() || !behind[1..].starts_with('.')));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        self.at += whole.len() + point + fraction.len();
        Some((whole, fraction))
    }

    /// Takes a string in double quotes, its escapes resolved: `\n`, `\t`, `\r`, `\0`, `\\`, `\"`, `\xHH`.
    pub(crate) fn string(&mut self) -> Result<Vec<u8>, ParseError> {
        self.expect("\"")?;
        let start = self.at - 1;
        let mut bytes = Vec::new();
        loop {
            let mut rest = self.rest().chars();
            let Some(c) = rest.next().filter(|&c| c != '\n') else {
                self.at = start;
                return Err(self.error("a string without its closing `\"`"));
            };
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(bytes),
                '\\' => bytes.push(self.escape()?),
                _ => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }

    /// The byte that an escape means, behind its backslash.
    fn escape(&mut self) -> Result<u8, ParseError> {
        let rest = self.rest();
        let byte = match rest.chars().next() {
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('r') => b'\r',
            Some('0') => 0,
            Some(c @ ('\\' | '"' | '\'')) => c as u8,
            Some('x') => {
                let digits = rest.get(1..3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
                let Some(byte) = digits else {
                    return Err(self.error("expected two hexadecimal digits after `\\x`"));
                };
                self.at += 2;
                byte
            }
            _ => return Err(self.error("an unknown escape in a string")),
        };
        self.at += 1;
        Ok(byte)
    }
}

/// The characters at the beginning of `text` that `wanted` holds of.
fn leading(text: &str, wanted: impl Fn(char) -> bool) -> &str {
    &text[..text.find(|c| !wanted(c)).unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexer(text: &str) -> Lexer<'_> {
        Lexer::new("test", text)
    }

    #[test]
    fn blanks_and_comments_are_skipped() {
        let mut lexer = lexer("  // one\n /* two\n three */ # no comment here\n# but here\n word");
        assert_eq!(lexer.peek(), Some('#'));
        assert!(lexer.eat("#"));
        assert_eq!(lexer.run(|c| c != '\n'), "no comment here");
        assert_eq!(lexer.word(), Some("word"));
        assert_eq!(lexer.peek(), None);
    }

    #[test]
    fn an_open_comment_is_an_error() {
        let mut lexer = lexer("\n /* and on");
        assert_eq!(lexer.expected("an event").to_string(), "test:2:2: expected an event, found `/*`");
    }

    #[test]
    fn decimals_end_before_an_ellipsis() {
        for (text, whole, fraction, behind) in [
            ("0...1", "0", "", "...1"),
            (".5~", "", "5", "~"),
            ("1.25 x", "1", "25", " x"),
            ("7. x", "7", "", " x"),
        ] {
            let mut lexer = lexer(text);
            assert_eq!(lexer.decimal(), Some((whole, fraction)), "{text}");
            assert_eq!(lexer.rest(), behind);
        }
        assert_eq!(lexer("...").decimal(), None);
        assert_eq!(lexer("x").decimal(), None);
    }

    #[test]
    fn numbers_keep_to_their_type() {
        assert_eq!(lexer("0x1f").number::<u8>("a number").unwrap(), 31);
        assert_eq!(lexer(" 4294967295").number::<u32>("a number").unwrap(), u32::MAX);
        assert_eq!(lexer("256").number::<u8>("a byte").unwrap_err().message, "a byte out of range");
        assert_eq!(
            lexer("99999999999999999999").unsigned("a number").unwrap_err().message,
            "a number out of range"
        );
        assert_eq!(lexer("x1").unsigned("a number").unwrap_err().message, "expected a number, found `x1`");
        assert_eq!(lexer("0x").unsigned("a number").unwrap_err().message, "expected a number, found `0x`");
    }

    #[test]
    fn strings_resolve_their_escapes() {
        assert_eq!(lexer(r#""a\x41\n\"\\""#).string().unwrap(), b"aA\n\"\\");
        assert_eq!(lexer("\"open\n").string().unwrap_err().message, "a string without its closing `\"`");
        assert!(lexer(r#""\xg0""#).string().is_err());
        assert!(lexer(r#""\q""#).string().is_err());
        assert!(lexer("\"\\").string().is_err());
    }

    #[test]
    fn keywords_are_whole_words() {
        let mut lexer = lexer("window win 5");
        assert!(!lexer.eat_word("win"));
        assert_eq!(lexer.word(), Some("window"));
        assert!(lexer.eat_word("win"));
        assert_eq!(lexer.word(), None);
    }

    #[test]
    fn columns_count_characters() {
        let mut lexer = lexer("é x");
        lexer.run(|c| c == 'é');
        assert_eq!(lexer.error("here").to_string(), "test:1:3: here");
    }
}
