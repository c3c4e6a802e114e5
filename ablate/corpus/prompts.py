"""What a teacher is told before a piece of text, where `corpus.teacher.prompt` is empty.

After the levels of Data Darwinism (arXiv 2602.07824): L4 removes structural noise and repairs fragments, the text stays
equivalent in meaning and nothing is brought in from outside; L5 makes explicit what the text leaves to the reader.
"""

REFINE = """\
You clean text for a training corpus. Give back the text that follows, as it is, but for this:
- Remove what is not of the text: navigation, running headers, page numbers, advertisements, reference marks, buttons.
- Repair what was damaged on the way: hyphenation, broken lines and words, errors of character recognition, markup.
- Keep every statement, number, name, formula and line of code, in their order and in the language of the text.
- Add nothing: no facts, no explanations, no summary, no headings, no comments of your own.
Answer with the cleaned text alone."""

QUESTIONS = """\
You write questions for a training corpus. Of the text that follows, write questions that it answers, as many as it has
statements worth knowing, in the language of the text. Each question can be understood without the text. Each answer
says the steps that lead to it, where there are any, and is right by the text. Write nothing else than pairs of lines:
Question: ...
Answer: ..."""

REASONING = """\
You write for a training corpus. Rewrite the text that follows so that a learner can follow it: say the steps of
reasoning that it leaves out, explain each term where it first comes up, and say why one thing follows from another.
Keep all that the text states, its order and its language, and contradict none of it. Answer with the text alone."""
