//! Paragraphs of `format=flowed` (RFC 3676): a line that ends in a blank goes on in the next one.

/// Joins the lines of each paragraph. `del_sp` is the parameter `DelSp`: the blank at a line's end is no part of the text.
pub fn unflow(text: &str, del_sp: bool) -> String {
    let mut joined = String::with_capacity(text.len());
    // The quote depth of the paragraph that goes on.
    let mut open: Option<usize> = None;
    for (number, line) in text.lines().enumerate() {
        let quoted = line.trim_start_matches('>');
        let depth = line.len() - quoted.len();
        // A blank before the text protects it (section 4.4).
        let content = quoted.strip_prefix(' ').unwrap_or(quoted);
        let is_signature = content == SIGNATURE;
        // Lines of different depths are different paragraphs, and a signature begins one (sections 4.3 and 4.5).
        // So does an empty line, although it is the last of a paragraph by the letter of the RFC: no reader shows it so.
        if open.take() != Some(depth) || is_signature || content.is_empty() {
            if number > 0 {
                joined.push('\n');
            }
            joined.extend(std::iter::repeat_n('>', depth));
            if depth > 0 && !content.is_empty() {
                joined.push(' ');
            }
        }
        match content.strip_suffix(' ').filter(|_| !is_signature) {
            Some(text) => {
                joined.push_str(if del_sp { text } else { content });
                open = Some(depth);
            }
            None => joined.push_str(content),
        }
    }
    if text.ends_with('\n') {
        joined.push('\n');
    }
    joined
}

/// The line before a signature (section 4.3).
const SIGNATURE: &str = "-- ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u15_lines_of_a_paragraph_are_joined_as_rfc_3676_has_it() {
        for (text, del_sp, expected) in [
            ("one \r\ntwo\r\nthree\r\n", false, "one two\nthree\n"),
            ("日本 \n語\n", true, "日本語\n"),
            ("one  \ntwo\n", true, "one two\n"),
            ("> a \n> b\n>> c \n> d\n", false, "> a b\n>> c \n> d\n"),
            (">a \n>b\n", false, "> a b\n"),
            ("  indented\n From x\n > no quote\n", false, " indented\nFrom x\n> no quote\n"),
            ("text \n-- \nAnn\n", false, "text \n-- \nAnn\n"),
            ("> text \n> -- \n> Ann\n", false, "> text \n> -- \n> Ann\n"),
            ("a \n\nb \n", false, "a \n\nb \n"),
            (">\n> \n>> x\n", false, ">\n>\n>> x\n"),
            ("\nx\n", false, "\nx\n"),
            ("", false, ""),
            (" ", false, ""),
        ] {
            assert_eq!(unflow(text, del_sp), expected, "{text:?}");
        }
    }

    #[test]
    fn u15_the_cost_is_linear() {
        assert_eq!(unflow(&"x \n".repeat(1 << 20), true).len(), (1 << 20) + 1);
        assert_eq!(unflow(&format!("{}\n", ">".repeat(1 << 20)), false).len(), (1 << 20) + 1);
    }
}
