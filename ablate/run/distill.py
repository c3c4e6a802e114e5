"""What a student learns of its teacher: the settings of objective=distill."""

import dataclasses
from typing import Annotated, Literal

from pydantic import Field

from ablate.run.fields import Fraction, Mark, NotNegative, Positive, strict


@strict
class Distill:
    """Of objective=distill: how far the student may be from its teacher's predictions, p from q (`scores.divergence`).

    The student's rows are the teacher's too, and so are the tokens that count.
    """

    # Whose predictions are learnt: run:<id> or folder:<path>, as `start` names them, with the tokenizer of this run
    teacher: str = "none"
    # forward: KL(q || p); reverse: KL(p || q); jensen_shannon: beta KL(q || m) + (1 - beta) KL(p || m), where
    # m = beta q + (1 - beta) p (GKD, arXiv 2306.13649)
    kind: Literal["forward", "reverse", "jensen_shannon"] = "forward"
    beta: Annotated[float, Field(gt=0, lt=1)] = 0.5  # of jensen_shannon: the weight of the teacher
    # Divides the logits of both; the loss is not multiplied by its square
    temperature: Positive = 1.0
    top_k: NotNegative = 0  # tokens of each prediction of the teacher, its likeliest, renormalised; 0: all
    share: Annotated[Fraction, Field(lt=1)] = 0.0  # weight of the text's cross-entropy; the divergence has the rest
    # FLOPs of the teacher's forward pass, per token, by row length: noted when the teacher is looked up
    flops: Annotated[dict[int, int], Mark.NOT_HASHED] = dataclasses.field(default_factory=dict)
    parameters: Annotated[NotNegative, Mark.NOT_HASHED] = 0  # of the teacher: noted likewise
