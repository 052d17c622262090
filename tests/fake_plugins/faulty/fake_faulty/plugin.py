"""Each part is named after the conformance check that must catch it, and no other; further ones, after two dashes, others may catch too."""

from collections.abc import Iterator

from restorekit.hooks import Part, hookimpl

RESTOREKIT_INTERFACE = 1

HERE = "fake_faulty"


def part(kind: str, name: str, target: str, **fields) -> Part:
    return Part(kind, name, f"{HERE}.{target}", **{"summary": "faulty", "paper": "textbook", "licence": "MIT", **fields})


@hookimpl
def restorekit_parts() -> Iterator[Part]:
    yield from _manifest_and_schema()
    yield from _networks()
    yield from _training()
    yield from _degradations_and_scores()


def _manifest_and_schema() -> Iterator[Part]:
    yield part("loss", "target-imports", "losses:NoSuchClass")
    yield part("loss", "target-imports--module", "no_such_module:Loss")
    yield part("loss", "target-imports--exits", "exits:Loss")
    yield Part("recipe", "target-imports", f"{HERE}:absent.yaml", "faulty", "textbook", "MIT")
    yield part("loss", "is-described", "losses:Sound", paper=" ")
    yield part("loss", "is-described--lines", "losses:Sound", summary="one\ntwo")
    yield part("loss", "former-name-is-free", "losses:Sound", renamed_from="is-described")
    yield part("loss", "known-failures-exist", "losses:Sound", known_failures={"is-a-scalar": "misspelt"})
    yield part("loss", "known-failures-exist--reason", "losses:Sound", known_failures={"is-a-finite-scalar": " "})
    yield part("loss", "implements-its-interface", "losses:NoLoss")
    yield part("loss", "implements-its-interface--abstract", "losses:Abstract")
    yield part("loss", "signature-is-a-schema", "losses:Weight")
    yield part("loss", "signature-is-a-schema--catch-all", "losses:CatchAll")
    yield part("loss", "signature-is-a-schema--positional", "losses:Positional")
    yield part("loss", "example-builds", "losses:Scaled", example={"factor": -1.0})
    yield part("loss", "example-builds--missing", "losses:Needy")
    yield part("loss", "configuration-round-trips", "losses:BadDefault", example={"factor": 1.0})
    yield part("loss", "configuration-round-trips--built", "losses:BadDefault")
    yield part("loss", "every-argument-matters", "losses:Ignores")
    yield part("loss", "every-argument-matters--stored", "losses:Stores")
    yield Part("recipe", "recipe-is-whole", f"{HERE}:recipe.yaml", "faulty", "textbook", "MIT")
    yield Part("suite", "suite-is-whole", f"{HERE}:suite.yaml", "faulty", "textbook", "MIT")
    yield Part("suite", "suite-is-whole--mapping", f"{HERE}:list.yaml", "faulty", "textbook", "MIT")


def _networks() -> Iterator[Part]:
    for name, target in (
        ("declarations-fit", "LatentLength"),
        ("declarations-fit--without", "LatentWithoutLength"),
        ("shapes-hold", "TupleInEvaluation"),
        ("shapes-hold--rule", "WrongSizeRule"),
        ("shapes-hold--minimum", "WrongMinimum"),
        ("outputs-are-finite", "DividesByContrast"),
        ("outputs-are-finite--photograph", "Logarithm"),
        ("every-parameter-gets-a-gradient", "UnusedLayer"),
        ("every-parameter-gets-a-gradient--zero", "Multiplied"),
        ("gradient-reaches-the-image", "DetachedGlobally"),
        ("gradient-reaches-the-image--local", "Detached"),
        ("eval-is-deterministic", "CachesInHalf"),
        ("eval-is-deterministic--dropout", "Dropout"),
        ("eval-is-batch-independent", "BatchStatisticsGlobally"),
        ("eval-is-batch-independent--local", "BatchStatistics"),
        ("input-is-not-modified", "ClampsInPlace"),
        ("input-is-not-modified--doubled", "InPlace"),
        ("weights-round-trip", "HiddenNoise"),
        ("weights-round-trip--shared", "Shared"),
        ("local-is-true", "SmallAreOther"),
        ("local-is-true--pool", "GlobalPool"),
        ("local-is-true--hidden", "DetachedPool"),
        ("local-is-true--branch", "StartsAtZero"),
        ("local-is-true--option", "GlobalByDefault"),
        ("tiles-equal-the-whole", "CoarserThanItSays"),
        ("tiles-stay-near-the-whole", "RemembersTheFirstImage"),
        ("growth-is-state", "GrowsOutsideItsState"),
        ("growth-is-state--float", "GrowsByAFloat"),
        ("growth-is-state--small", "SmallWhenYoung"),
    ):
        yield part("generator", name, f"generators:{target}")
    for name, importer in (("", "takes_everything"), ("--asks", "asks_at_once"), ("--absent", "no_such_function")):
        yield part("generator", f"importer-tells-strangers-apart{name}", "generators:Sound", importer=f"{HERE}.importing:{importer}")
    for name, target in (
        ("logit-maps", "Averaged"),
        ("logit-maps--tensor", "NoTuple"),
        ("logit-maps--size", "OddSize"),
        ("logits-are-unbounded", "Sigmoid"),
        ("outputs-are-finite--critic", "Infinite"),
        ("every-parameter-gets-a-gradient--critic", "UnusedLayer"),
    ):
        yield part("critic", name, f"critics:{target}")
    for name, target in (
        ("layers-are-declared", "NoSeed"),
        ("layers-are-declared--none", "NoLayers"),
        ("maps-are-as-asked", "Rectified"),
        ("maps-are-as-asked--all", "TooMany"),
        ("unknown-layer-is-refused", "KeyFault"),
        ("weights-are-frozen", "Trainable"),
        ("weights-are-frozen--norm", "BatchNorm"),
        ("gradient-reaches-the-image", "NoGrad"),
        ("random-weights-follow-the-seed", "Unseeded"),
        ("random-weights-follow-the-seed--global", "SeedsGlobally"),
        ("random-weights-follow-the-seed--same", "OneSeed"),
        ("image-is-not-modified", "ClampsInPlace"),
        ("image-is-not-modified--normalised", "NormalisesInPlace"),
    ):
        yield part("features", name, f"features:{target}", example={"weights": "random"})
    for name, target in (
        ("psf-is-as-declared", "EvenSize"),
        ("psf-spreads-light", "Negative"),
        ("psf-is-centred", "OffCentre"),
        ("flat-image-has-a-psf", "NothingForFlat"),
        ("alone-as-in-a-batch", "FirstOfBatch"),
        ("input-is-not-modified", "ClampsInPlace"),
        ("input-is-not-modified--blurred", "BlursInPlace"),
    ):
        yield part("estimator", name, f"estimators:{target}")


def _training() -> Iterator[Part]:
    for name, target in (
        ("is-a-finite-scalar", "OneElement"),
        ("is-a-finite-scalar--unreduced", "Unreduced"),
        ("is-a-finite-scalar--log", "LogOfZero"),
        ("gradient-is-finite", "Root"),
        ("gradient-is-finite--rounded", "Rounded"),
        ("is-the-mean-over-the-batch", "Summed"),
        ("is-least-at-equality", "Negative"),
        ("is-least-at-equality--constant", "NoTarget"),
        ("target-is-not-read", "ReadsTarget"),
        ("images-are-not-modified", "Clamps"),
    ):
        yield part("loss", name, f"losses:{target}")
    for name, target in (
        ("terms-are-scalars", "OneImageOnly"),
        ("terms-are-scalars--maps", "Maps"),
        ("critic-side-leaves-the-generator-alone", "Backward"),
        ("critic-side-leaves-the-generator-alone--scale", "FirstScaleOnly"),
        ("critic-side-leaves-the-generator-alone--flag", "NeedsGradient"),
        ("generator-side-leaves-the-critic-alone", "Thaws"),
        ("generator-side-leaves-the-critic-alone--detached", "DetachedFake"),
        ("game-has-the-right-direction", "WrongSign"),
        ("game-has-the-right-direction--generator", "WrongGeneratorSign"),
        ("parts-of-a-batch-add-up", "Centred"),
        ("parts-of-a-batch-add-up--declared", "NeedsNoBatch"),
        ("objective-modifies-nothing", "ClipsAtOnce"),
    ):
        yield part("adversarial", name, f"objectives:{target}")


def _degradations_and_scores() -> Iterator[Part]:
    for name, target in (
        ("samples-are-as-declared", "MoreThanDeclared"),
        ("samples-are-as-declared--less", "Undeclared"),
        ("samples-are-as-declared--first", "OneForAll"),
        ("same-seed-same-result", "GlobalDraw"),
        ("same-seed-same-result--apply", "DrawsInApply"),
        ("global-random-state-is-untouched", "SeedsGlobally"),
        ("global-random-state-is-untouched--numpy", "SeedsNumpy"),
        ("result-is-an-image", "OvershootsAtWhite"),
        ("result-is-an-image--range", "Unclamped"),
        ("result-is-an-image--shape", "Crops"),
        ("what-was-done-is-recorded", "Forgets"),
        ("what-was-done-is-recorded--mask", "GreyMask"),
        ("images-are-damaged-apart", "FirstKernelForAll"),
        ("input-is-not-modified", "ClampsInPlace"),
        ("input-is-not-modified--darkened", "InPlace"),
        ("pair-stays-registered", "OffCentre"),
        ("pair-stays-registered--hidden", "Shifts"),
        ("blur-keeps-the-brightness", "DarkBorders"),
        ("blur-keeps-the-brightness--sum", "SumsToMore"),
        ("margin-is-true", "NoMargin"),
    ):
        yield part("degradation", name, f"degradations:{target}")
    for kind, name, target in (
        ("metric", "declares-what-it-means", "NoUnit"),
        ("metric", "declares-what-it-means--direction", "Mute"),
        ("metric", "one-score-per-image", "Pooled"),
        ("metric", "one-score-per-image--number", "OneNumber"),
        ("metric", "order-does-not-matter", "Positional"),
        ("metric", "direction-is-right", "WrongDirection"),
        ("metric", "scores-stay-within-bounds", "WrongBounds"),
        ("metric", "images-are-not-modified", "ClampsInPlace"),
        ("metric", "images-are-not-modified--darkened", "InPlace"),
        ("set-metric", "one-score-for-the-set", "ReturnsTensor"),
        ("set-metric", "one-score-for-the-set--again", "Drains"),
        ("set-metric", "batches-do-not-matter", "MeanOfMeans"),
        ("set-metric", "set-direction-is-right", "WrongSetDirection"),
        ("set-metric", "sets-need-no-pairs", "Pairs"),
    ):
        yield part(kind, name, f"metrics:{target}")
    for name, target in (
        ("result-is-an-image", "Overshoots"),
        ("result-is-an-image--shape", "Shrinks"),
        ("input-is-not-modified", "InPlace"),
        ("same-input-same-result", "FollowsTheGlobalSeed"),
        ("same-input-same-result--dithers", "Dithers"),
        ("uses-nothing-undeclared", "Peeks"),
        ("uses-nothing-undeclared--needs", "NeedsUndeclared"),
        ("uses-everything-declared", "PretendsToSee"),
        ("needs-are-explained", "BareKey"),
        ("whole-numbers-give-the-same", "TakesLevelsForFloats"),
        ("whole-numbers-give-the-same--refuses", "RefusesLevels"),
        ("steps-are-reported", "GoesOn"),
        ("steps-are-reported--silent", "IsSilent"),
        ("steps-are-reported--zero", "CountsFromZero"),
        ("steps-are-reported--more", "TakesMoreSteps"),
        ("steps-are-reported--corner", "ShowsACorner"),
        ("steps-are-reported--changes", "ShowsByChanging"),
    ):
        yield part("restorer", name, f"restorers:{target}")
