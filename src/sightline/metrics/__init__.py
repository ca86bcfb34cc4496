"""The table of metrics. A metric's rule is one function of one trial, in a file of its own."""

from sightline.errors import MetricError
from sightline.metrics.adcc import adcc
from sightline.metrics.average_drop import average_drop
from sightline.metrics.average_gain import average_gain
from sightline.metrics.background_independence import background_independence, of_all_things
from sightline.metrics.coherency import coherency
from sightline.metrics.completeness import at_shared, at_tenth, completeness, highest, over_thresholds, shared_threshold
from sightline.metrics.complexity import complexity
from sightline.metrics.contrast import contrast, movement
from sightline.metrics.controlled_synthetic import controlled_synthetic
from sightline.metrics.deletion_check import deletion_check
from sightline.metrics.distractibility import distractibility
from sightline.metrics.energy import energy
from sightline.metrics.increase import increase
from sightline.metrics.infidelity import infidelity, unexplained
from sightline.metrics.label_randomisation import label_randomisation
from sightline.metrics.localization import (
    class_known,
    class_top_1,
    class_top_5,
    localization,
    mean_iou,
    top_1,
    top_5,
)
from sightline.metrics.max_box_acc import (
    accuracy,
    accuracy_at_30,
    accuracy_at_70,
    accuracy_by_threshold,
    accuracy_v2,
    best_threshold,
    max_box_acc,
    max_box_acc_v2,
)
from sightline.metrics.max_sensitivity import max_sensitivity
from sightline.metrics.occlusion_correlation import occlusion_correlation
from sightline.metrics.parameter_randomisation import at_last, by_share, over_stages, parameter_randomisation
from sightline.metrics.percent import class_percent, percent
from sightline.metrics.pixel_curve import area, confidence_by_share, deletion, insertion
from sightline.metrics.pointing import pointing, small_among_others, tied
from sightline.metrics.pointing_rejecting import (
    by_threshold,
    held_out,
    keeping_all,
    optimistic,
    pointing_rejecting,
    rejecting_all,
)
from sightline.metrics.preservation_check import preservation_check
from sightline.metrics.pxap import average_precision, chance, pxap
from sightline.metrics.relevance_rank import relevance_rank
from sightline.metrics.road import by_budget, combined, lerf, morf, road
from sightline.metrics.seed_miou import best_background, best_miou, by_background, miou, seed_miou
from sightline.metrics.sensitivity_n import by_size, over_sizes, sensitivity_n
from sightline.metrics.single_deletion import single_deletion, tied_parts
from sightline.metrics.sparseness import sparseness
from sightline.metrics.target_sensitivity import target_sensitivity
from sightline.named import found
from sightline.trials import About, Better, Known, Metric

METRICS: tuple[Metric, ...] = (
    # where the object is
    Metric("pointing", pointing, "arXiv 1910.08485", "whether the highest pixel is on the object, or 15 pixels near",
           needs=Known.BOXES, total=percent,
           more={"per class": class_percent, "per class, small among others": small_among_others, "tied": tied}),
    Metric("pointing-rejecting", pointing_rejecting, "arXiv 1610.02391",
           "whether it is, and whether low maps are of classes that aren't there", about=About.PREDICTED,
           needs=Known.BOXES, total=held_out, curves={"accuracy by threshold": by_threshold},
           more={"t = 0": keeping_all, "all rejected": rejecting_all, "best t here, optimistic": optimistic}),
    Metric("energy", energy, "arXiv 1910.01279", "how much of the positive evidence is on the object",
           needs=Known.BOXES, total=percent, more={"per class": class_percent}),
    Metric("relevance-rank", relevance_rank, "arXiv 2003.07258",
           "how many of the highest pixels are the object's, of as many as it has",
           needs=Known.MASKS, total=percent, more={"per class": class_percent}),
    Metric("localization", localization, "arXiv 1610.02391",
           "error: the first class is wrong, or the box at 15 % of the maximum misses", better=Better.LOWER,
           needs=Known.BOXES, total=top_1,
           more={"top 5": top_5, "class given": class_known, "of the class, top 1": class_top_1,
                 "of the class, top 5": class_top_5, "mean IoU": mean_iou}),
    Metric("max-box-acc", max_box_acc, "arXiv 2001.08437",
           "whether the box is right at the threshold that is best for all pictures", needs=Known.BOXES,
           total=accuracy, more={"at threshold": best_threshold},
           curves={"accuracy by threshold": accuracy_by_threshold}),
    Metric("max-box-acc-v2", max_box_acc_v2, "arXiv 2007.04178",
           "whether any segment's box is, for an IoU of 0.3, 0.5 and 0.7", needs=Known.BOXES, total=accuracy_v2,
           more={"IoU 0.3": accuracy_at_30, "IoU 0.5": accuracy, "IoU 0.7": accuracy_at_70},
           curves={"accuracy by threshold": accuracy_by_threshold}),
    Metric("pxap", pxap, "arXiv 2001.08437", "precision by recall of the map as a guess of the object's pixels",
           needs=Known.MASKS, total=average_precision, more={"chance": chance}),
    Metric("seed-miou", seed_miou, "arXiv 1904.05044", "how well the maps of the picture's classes segment it",
           about=About.PICTURE, needs=Known.MASKS, total=miou,
           more={"best background's": best_miou, "best background": best_background},
           curves={"mean IoU by background": by_background}),
    # whether the model relies on what is marked
    Metric("insertion", insertion, "arXiv 1806.07421", "the area under the confidence as the highest pixels come first",
           asks=True, total=area, curves={"confidence by share": confidence_by_share}),
    Metric("deletion", deletion, "arXiv 1806.07421", "the area under the confidence as the highest pixels go first",
           better=Better.LOWER, asks=True, total=area, curves={"confidence by share": confidence_by_share}),
    Metric("average-drop", average_drop, "arXiv 1710.11063",
           "how much confidence is lost where only what the map shows is seen", better=Better.LOWER, asks=True,
           total=percent),
    Metric("increase", increase, "arXiv 1710.11063", "how often the confidence is higher there", asks=True,
           total=percent),
    Metric("average-gain", average_gain, "arXiv 2301.07002", "how much of what confidence lacked is gained there",
           asks=True, total=percent),
    Metric("road", road, "arXiv 2202.00449",
           "what losing the lowest pixels leaves, less what losing the highest does, imputed", asks=True,
           total=combined, more={"MoRF": morf, "LeRF": lerf}, curves={"MoRF and LeRF by share": by_budget}),
    Metric("sensitivity-n", sensitivity_n, "arXiv 1711.06104",
           "whether the evidence in sets of cells is what the score loses with them", asks=True, total=over_sizes,
           curves={"correlation by size": by_size}),
    Metric("infidelity", infidelity, "arXiv 1901.09392",
           "how far the evidence in squares is from what the score loses with them", better=Better.LOWER, asks=True,
           more={"unexplained": unexplained}),
    Metric("max-sensitivity", max_sensitivity, "arXiv 1901.09392", "how far the map changes with a little noise",
           better=Better.LOWER, asks=True),
    Metric("occlusion-correlation", occlusion_correlation, "arXiv 1610.02391",
           "whether places are ranked as by what the score loses when they are covered", asks=True),
    # whether the map depends on what it explains
    Metric("contrast", contrast, "arXiv 1912.09818", "how alike the map of the strongest other class is",
           better=Better.LOWER, asks=True, more={"evidence that moves": movement}),
    Metric("parameter-randomisation", parameter_randomisation, "arXiv 1810.03292",
           "how alike the map is when weights are lost, from the logits down", better=Better.LOWER, asks=True,
           total=at_last, more={"mean over stages": over_stages}, curves={"by share of layers": by_share}),
    Metric("label-randomisation", label_randomisation, "arXiv 1810.03292",
           "how alike the map of a model trained on random labels is", better=Better.LOWER, asks=True),
    # how the map is made up
    Metric("complexity", complexity, "arXiv 2104.10252", "how much of the image is lit", better=Better.LOWER),
    Metric("sparseness", sparseness, "arXiv 1810.06583", "how unequal pixels are: the Gini index"),
    Metric("coherency", coherency, "arXiv 2104.10252", "whether what the map shows is explained alike", asks=True),
    Metric("adcc", adcc, "arXiv 2104.10252", "confidence kept, coherency and little complexity, all three", asks=True),
    # on generated pictures with removable parts
    Metric("single-deletion", single_deletion, "arXiv 2308.06248",
           "whether parts are important in the order in which the model misses them", needs=Known.PARTS, asks=True,
           more={"tied": tied_parts}),
    Metric("controlled-synthetic", controlled_synthetic, "arXiv 2308.06248",
           "how much of what tells the class is important", needs=Known.PARTS, asks=True, total=at_shared,
           more={"threshold": shared_threshold, "t = 0.1": at_tenth}, curves={"by threshold": over_thresholds}),
    Metric("preservation-check", preservation_check, "arXiv 2308.06248",
           "whether the class is predicted from the important parts", needs=Known.PARTS, asks=True, total=at_shared,
           more={"threshold": shared_threshold, "t = 0.1": at_tenth}, curves={"by threshold": over_thresholds}),
    Metric("deletion-check", deletion_check, "arXiv 2308.06248",
           "whether it no longer is without them", needs=Known.PARTS, asks=True, total=at_shared,
           more={"threshold": shared_threshold, "t = 0.1": at_tenth}, curves={"by threshold": over_thresholds}),
    Metric("distractibility", distractibility, "arXiv 2308.06248",
           "how much of what the model doesn't need isn't important", needs=Known.PARTS, asks=True, total=at_shared,
           more={"threshold": shared_threshold, "t = 0.1": at_tenth}, curves={"by threshold": over_thresholds}),
    Metric("completeness", completeness, "arXiv 2308.06248",
           "the four before this one, at the threshold that is best for them together", needs=Known.PARTS, asks=True,
           total=highest, more={"threshold": shared_threshold, "t = 0.1": at_tenth},
           curves={"by threshold": over_thresholds}),
    Metric("target-sensitivity", target_sensitivity, "arXiv 2308.06248",
           "whether maps of two other classes go to the parts in common with each", needs=Known.PARTS, asks=True),
    Metric("background-independence", background_independence, "arXiv 2308.06248",
           "how few things around are relevant to the model, whatever the map", needs=Known.PARTS, asks=True,
           total=of_all_things),
)  # fmt: skip


def metric(name: str | Metric) -> Metric:
    """The metric of a name, as people write it: `pointing`, `Average-Drop`, `max_box_acc`.

    Options may follow, as in `pointing:tolerance=0`. Raises MetricError, with the nearest names or the options.
    """
    if isinstance(name, Metric):
        return name
    return found(name, METRICS, MetricError, "metric", "sightline.metrics.METRICS")
