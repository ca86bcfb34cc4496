"""The methods, in the order in which one would teach them."""

from sightline.errors import MethodError
from sightline.methods.ablation_cam import ablation_cam
from sightline.methods.attention_relevance import attention_relevance
from sightline.methods.attention_rollout import attention_rollout
from sightline.methods.attn_lrp import attn_lrp
from sightline.methods.c_mwp import c_mwp
from sightline.methods.cam import cam
from sightline.methods.controls import CONTROLS
from sightline.methods.deconvnet import deconvnet
from sightline.methods.deep_feature_factorization import deep_feature_factorization
from sightline.methods.eigen_cam import eigen_cam
from sightline.methods.eigen_grad_cam import eigen_grad_cam
from sightline.methods.excitation_backprop import excitation_backprop
from sightline.methods.extremal_perturbation import extremal_perturbation
from sightline.methods.fem import fem
from sightline.methods.full_grad import full_grad
from sightline.methods.fused_layer_cam import fused_layer_cam
from sightline.methods.grad_cam import grad_cam
from sightline.methods.grad_cam_plus_plus import grad_cam_plus_plus
from sightline.methods.guided_backprop import guided_backprop
from sightline.methods.guided_grad_cam import guided_grad_cam
from sightline.methods.hires_cam import hires_cam
from sightline.methods.input_x_gradient import input_x_gradient
from sightline.methods.integrated_gradients import integrated_gradients
from sightline.methods.is_cam import is_cam
from sightline.methods.kernel_shap import kernel_shap
from sightline.methods.kpca_cam import kpca_cam
from sightline.methods.layer_cam import layer_cam
from sightline.methods.legrad import legrad
from sightline.methods.lime import lime
from sightline.methods.lrp_composite import lrp_epsilon_plus_flat
from sightline.methods.lrp_epsilon import lrp_epsilon
from sightline.methods.lrp_gamma import lrp_gamma
from sightline.methods.lrp_z_plus import lrp_z_plus
from sightline.methods.muting import muting
from sightline.methods.occlusion import occlusion
from sightline.methods.opti_cam import opti_cam
from sightline.methods.recipro_cam import recipro_cam
from sightline.methods.refine_cam import refine_cam
from sightline.methods.rise import rise
from sightline.methods.saliency import saliency
from sightline.methods.score_cam import score_cam
from sightline.methods.shapley_cam import shapley_cam
from sightline.methods.smooth_grad import smooth_grad
from sightline.methods.smooth_grad_cam_plus_plus import smooth_grad_cam_plus_plus
from sightline.methods.ss_cam import ss_cam
from sightline.methods.var_grad import var_grad
from sightline.methods.xgrad_cam import xgrad_cam
from sightline.named import found
from sightline.types import Kind, Method, Needs

METHODS = (
    Method("grad-cam", grad_cam, "arXiv 1610.02391", "where the score's gradient and the activations agree"),
    Method("cam", cam, "arXiv 1512.04150", "the linear head's own weights", signed=True,
           needs=Needs.LINEAR_HEAD),
    Method("grad-cam++", grad_cam_plus_plus, "arXiv 1710.11063", "as Grad-CAM, for several objects of one class"),
    Method("smooth-grad-cam++", smooth_grad_cam_plus_plus, "arXiv 1908.01224",
           "Grad-CAM++, derivatives averaged over noise",
           kind=Kind.ASKING, forwards="samples + 1", backwards="samples"),
    Method("xgrad-cam", xgrad_cam, "arXiv 2008.02312", "as Grad-CAM, weighted by where channels are active"),
    Method("layer-cam", layer_cam, "doi 10.1109/TIP.2021.3089943", "cell by cell, sharp in early layers"),
    Method("fused-layer-cam", fused_layer_cam, "doi 10.1109/TIP.2021.3089943",
           "LayerCAM at every resolution, the largest",
           kind=Kind.ASKING, forwards="1 + layers", backwards="layers"),
    Method("refine-cam", refine_cam, "arXiv 2605.14641", "Grad-CAM++ at every resolution, multiplied",
           kind=Kind.ASKING, forwards="1 + layers", backwards="layers"),
    Method("hires-cam", hires_cam, "arXiv 2011.08891", "cell by cell, sums to the score", signed=True),
    Method("shapley-cam", shapley_cam, "arXiv 2501.06261", "as Grad-CAM, corrected by the score's curvature",
           kind=Kind.ASKING, backwards="2"),
    Method("eigen-cam", eigen_cam, "arXiv 2008.00299", "the strongest direction of the activations",
           kind=Kind.ACTIVATION, signed=True, discriminative=False, backwards="0"),
    Method("eigen-grad-cam", eigen_grad_cam, "arXiv 2008.00299", "the strongest direction of gradient times activation",
           signed=True),
    Method("kpca-cam", kpca_cam, "arXiv 2410.00267", "as Eigen-CAM, curved: kernel PCA of the activations",
           kind=Kind.ACTIVATION, signed=True, discriminative=False, backwards="0"),
    Method("fem", fem, "doi 10.1109/IPTA50016.2020.9286629", "where channels are unusually strong",
           kind=Kind.ACTIVATION, signed=True, discriminative=False, backwards="0"),
    Method("deep-feature-factorization", deep_feature_factorization, "arXiv 1806.10206",
           "parts found in the activations, weighted by the score's gradient"),
    Method("saliency", saliency, "arXiv 1312.6034", "how strongly the score answers to each pixel",
           kind=Kind.ASKING, layered=False),
    Method("input-x-gradient", input_x_gradient, "arXiv 1605.01713", "what each pixel adds, were the net linear",
           kind=Kind.ASKING, signed=True, layered=False),
    Method("integrated-gradients", integrated_gradients, "arXiv 1703.01365", "from a blank image on, sums to the score",
           kind=Kind.ASKING, signed=True, layered=False, forwards="steps + 2", backwards="steps"),
    Method("smooth-grad", smooth_grad, "arXiv 1706.03825", "the gradient averaged over noise",
           kind=Kind.ASKING, layered=False, forwards="samples + 1", backwards="samples"),
    Method("var-grad", var_grad, "arXiv 1810.03292", "where noise changes the gradient most",
           kind=Kind.ASKING, layered=False, forwards="samples + 1", backwards="samples"),
    Method("guided-backprop", guided_backprop, "arXiv 1412.6806", "the gradient, only what is positive at every ReLU",
           kind=Kind.ASKING, layered=False, needs=Needs.RELU),
    Method("deconvnet", deconvnet, "arXiv 1311.2901", "the score run back through the net",
           kind=Kind.ASKING, layered=False, needs=Needs.RELU),
    Method("guided-grad-cam", guided_grad_cam, "arXiv 1610.02391", "guided backprop where Grad-CAM says the class is",
           kind=Kind.ASKING, needs=Needs.RELU, forwards="2", backwards="2"),
    Method("full-grad", full_grad, "arXiv 1905.00780", "input and every bias times gradient, the whole score",
           kind=Kind.ASKING, layered=False, needs=Needs.BIASES),
    Method("excitation-backprop", excitation_backprop, "arXiv 1608.00507",
           "the probability of winning, shared downwards",
           kind=Kind.ASKING, needs=Needs.RULES, forwards="2"),
    Method("c-mwp", c_mwp, "arXiv 1608.00507", "excitation backprop, less that of what speaks against the class",
           kind=Kind.ASKING, needs=Needs.RULES, forwards="2", backwards="2"),
    Method("lrp-epsilon", lrp_epsilon, "doi 10.1371/journal.pone.0130140",
           "the score shared by contribution, layer by layer",
           kind=Kind.ASKING, signed=True, layered=False, needs=Needs.RULES, forwards="2"),
    Method("lrp-z-plus", lrp_z_plus, "arXiv 1512.02479", "the score shared by positive contribution",
           kind=Kind.ASKING, signed=True, layered=False, needs=Needs.RULES, forwards="2"),
    Method("lrp-gamma", lrp_gamma, "doi 10.1007/978-3-030-28954-6_10",
           "the score shared, positive contributions favoured",
           kind=Kind.ASKING, signed=True, layered=False, needs=Needs.RULES, forwards="2"),
    Method("lrp-epsilon-plus-flat", lrp_epsilon_plus_flat, "arXiv 1910.09840", "LRP with a rule for each kind of layer",
           kind=Kind.ASKING, signed=True, layered=False, needs=Needs.RULES, forwards="2"),
    Method("attn-lrp", attn_lrp, "arXiv 2402.05602", "the score shared through attention too, by LRP's rules",
           kind=Kind.ASKING, signed=True, layered=False, needs=Needs.RULES, forwards="2"),
    Method("occlusion", occlusion, "arXiv 1311.2901", "what the score loses when a window is covered",
           kind=Kind.ASKING, signed=True, layered=False, backwards="0",
           forwards="1 + windows"),
    Method("muting", muting, "arXiv 1705.07857", "the least set of cells that the class can't do without",
           kind=Kind.ASKING, layered=False, forwards="2 * (cells**2 + 1)**2 + 2", backwards="0"),
    Method("rise", rise, "arXiv 1806.07421", "random masks, weighted by the confidence they leave",
           kind=Kind.ASKING, layered=False, forwards="1 + masks", backwards="0"),
    Method("extremal-perturbation", extremal_perturbation, "arXiv 1910.08485",
           "parts of given sizes that keep the score highest", kind=Kind.ASKING, layered=False, planar=True,
           forwards="3 + len(areas) * steps", backwards="1 + len(areas) * steps"),
    Method("lime", lime, "arXiv 1602.04938", "a sparse linear model of which superpixels count",
           kind=Kind.ASKING, signed=True, layered=False, needs=Needs.CAPTUM, planar=True,
           forwards="1 + samples", backwards="0"),
    Method("kernel-shap", kernel_shap, "arXiv 1705.07874", "each superpixel's fair share of the score",
           kind=Kind.ASKING, signed=True, layered=False, needs=Needs.CAPTUM, planar=True,
           forwards="1 + samples", backwards="0"),
    Method("score-cam", score_cam, "arXiv 1910.01279", "channels weighted by the score of what they let through",
           kind=Kind.ASKING, forwards="1 + channels", backwards="0"),
    Method("ss-cam", ss_cam, "arXiv 2006.14255", "as Score-CAM, averaged over noisy masks",
           kind=Kind.ASKING, forwards="1 + channels * samples", backwards="0"),
    Method("is-cam", is_cam, "arXiv 2010.03023", "as Score-CAM, averaged over the masks' intensities",
           kind=Kind.ASKING, forwards="1 + channels * steps", backwards="0"),
    Method("ablation-cam", ablation_cam, "doi 10.1109/WACV45572.2020.9093360",
           "channels weighted by what the score loses without them", kind=Kind.ASKING, forwards="2", backwards="0",
           heads="channels"),
    Method("recipro-cam", recipro_cam, "arXiv 2209.14074", "the score of each cell of the features alone",
           kind=Kind.ASKING, forwards="2", backwards="0", heads="positions"),
    Method("opti-cam", opti_cam, "arXiv 2301.07002", "the mix of channels whose mask scores best",
           kind=Kind.ASKING, forwards="1 + steps", backwards="steps"),
    Method("attention-rollout", attention_rollout, "arXiv 2005.00928", "attention, followed through all layers",
           kind=Kind.ASKING, discriminative=False, layered=False, needs=Needs.ATTENTION),
    Method("attention-relevance", attention_relevance, "arXiv 2103.15679",
           "attention where the score's gradient agrees",
           kind=Kind.ASKING, layered=False, needs=Needs.ATTENTION),
    Method("legrad", legrad, "arXiv 2404.03214", "how each block's own score would follow its attention",
           kind=Kind.ASKING, layered=False, needs=Needs.ATTENTION, forwards="2", backwards="layers", heads="layers"),
)  # fmt: skip


def method(name: str | Method) -> Method:
    """The method of a name, as people write it: `grad-cam`, `Grad-CAM++`, `layer_cam`, `gradcam`; a control's too.

    Options may follow, as in `rise:masks=4000:cells=8`. Raises MethodError, with the nearest names or the options.
    """
    if isinstance(name, Method):
        return name
    return found(name, (*METHODS, *CONTROLS), MethodError, "method", "`sightline methods`")
