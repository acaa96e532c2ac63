"""One training on all devices of a machine (`mirrored`) or of many (`multi_worker`, named by TF_CONFIG).

The engine is tf.distribute; docs/architecture.md says why the loop around `strategy.run` is ours. Of R replicas each
trains every R-th example of each global batch; the gradients are summed, each example weighing what it weighs in one
process, so the weights stay alike on all and are those of one process but for rounding. Batch norm normalises with each
replica's own examples (Goyal et al. 2017, section 2.3); its running averages are the replicas' weighted mean.
"""

import contextlib
import hashlib
import json
import signal
import time

import keras
import tensorflow as tf

from kerasref.data.dataset import WHOLE
from kerasref.errors import RunError, UserError
from kerasref.recipe import Recipe
from kerasref.recipe_training import CLIPPING
from kerasref.training.cluster import Cluster
from kerasref.training.options import Strategy, TrainOptions

# A worker that has lost another stays this long, so that the rest hear from the engine, which looks every ten seconds,
# of that one's death and not of its own end.
LINGER = 15.0
GONE = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
    tf.errors.FailedPreconditionError,
    tf.errors.DeadlineExceededError,
)


class OneDevice:
    """No strategy: Keras' own `fit`."""

    distributed = False
    is_chief = True
    share = WHOLE
    replicas = workers = 1

    def connect(self, batch_size: int) -> None:
        pass

    def scope(self):
        return contextlib.nullcontext()

    def agreed(self, signals):
        return signals

    def check_agreement(self, **what) -> None:
        pass

    def fit_epoch(self, model, epoch: int, batches, callbacks) -> None:
        # No shuffling: the batches come in the epoch's order already.
        model.fit(batches, initial_epoch=epoch, epochs=epoch + 1, callbacks=callbacks, shuffle=False, verbose=0)


class Replicas:
    """A `tf.distribute` strategy, from `connect` on. Its worker 0 is the chief: it alone writes.

    received: the signal on which all workers stop after the same step; 0: none.
    """

    distributed = True

    def __init__(self, cluster: Cluster | None, peer_timeout: float):
        self.cluster, self.peer_timeout = cluster, peer_timeout
        self.workers = len(cluster.tasks) if cluster else 1
        self.is_chief = not cluster or cluster.worker == 0
        self.share = (cluster.worker, self.workers) if cluster else WHOLE
        self.received = 0
        self.steps = {}

    def connect(self, batch_size: int) -> None:
        """Waits for all workers; raises RunError that names those who have not come in time, UserError for fewer
        examples a step than replicas."""
        if not self.cluster:
            devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
            self.strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
        else:
            if self.workers > 1:
                print(f"worker {self.cluster.worker} of {self.workers}, waiting for the others", flush=True)
            self.cluster.wait_for_all(self.peer_timeout)
            self.strategy = tf.distribute.MultiWorkerMirroredStrategy()
        self.replicas = self.strategy.num_replicas_in_sync
        if batch_size < self.replicas:
            raise UserError(f"batch size {batch_size}, but {self.replicas} replicas; expected at least an example each")
        print(f"{self.replicas} replicas on {self.workers} machine(s); one step a call, without XLA", flush=True)
        if not self.is_chief:
            print("worker 0 shows the progress and writes the run directory", flush=True)

    def scope(self):
        """Where variables are made that all replicas have."""
        return self.strategy.scope()

    def agreed(self, signals):
        self.signals = signals
        return self

    def check_agreement(self, **what) -> None:
        """Raises UserError unless all workers have the same of each of `what`, by its description."""
        digests = [hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest() for value in what.values()]
        mine = tf.constant([[int.from_bytes(digest[:4]) for digest in digests]], tf.int64)

        @tf.function
        def gather():
            return self.strategy.run(lambda: tf.distribute.get_replica_context().all_gather(mine, axis=0))

        with self._peers_needed():
            found = self.strategy.experimental_local_results(gather())[0].numpy()
        for name, column in zip(what, found.T, strict=True):
            if len(set(column)) > 1:
                name = name.replace("_", " ")
                raise UserError(f"the workers differ in {name}; start the same command with the same files on each")

    def fit_epoch(self, model, epoch: int, batches, callbacks) -> None:
        """What `model.fit(initial_epoch=epoch, epochs=epoch + 1)` does. `batches` are this worker's."""
        if len(model.metrics_variables) < 4:
            model.evaluate(batches.take(1), verbose=0)  # compiled metrics have no variables before
        model.stop_training = False
        model.reset_metrics()
        callbacks.on_epoch_begin(epoch)
        for place, (images, labels) in enumerate(batches):
            callbacks.on_train_batch_begin(place)
            self._train_step(model, batches.element_spec, images, labels)
            callbacks.on_train_batch_end(place, _results(model))
            if model.stop_training:
                break
        callbacks.on_epoch_end(epoch, _results(model))

    def _train_step(self, model, element_spec, images, labels) -> None:
        trained = tuple(weight.path for weight in model.trainable_variables)
        if trained not in self.steps:  # the first time, and when frozen layers are unfrozen
            self.steps[trained] = self._make_step(model, element_spec)
        with self._peers_needed():
            sums = self.steps[trained](images, labels, float(bool(self.signals.received))).numpy()
        loss, matches, examples, stop = sums.tolist()
        if stop:
            self.received = self.signals.received or signal.SIGTERM
        # Both metrics are means over examples: a sum and a count.
        pairs = zip(model.metrics_variables[::2], model.metrics_variables[1::2], strict=True)
        for (total, count), value in zip(pairs, (loss * examples, matches), strict=True):
            total.assign_add(value)
            count.assign_add(examples)

    def _make_step(self, model, element_spec):
        """images [b, H, W, C], labels [b] of this worker, stop -> [loss, matches, examples, stop] of the global batch.

        Traced once, for any b: the engine numbers its exchanges in the order of tracing, which has to be the same on
        all workers.
        """
        sum_loss = type(model.loss).from_config({**model.loss.get_config(), "reduction": "sum"})
        norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization) and x.trainable]
        averages = [variable for layer in norms for variable in (layer.moving_mean, layer.moving_variance)]
        weights = {id(weight) for weight in model.weights}
        seeds = [variable for variable in model.variables if id(variable) not in weights]
        local = self.replicas // self.workers

        def on_replica(images, labels, stop):
            replica = tf.distribute.get_replica_context()
            number = tf.cast(replica.replica_id_in_sync_group, tf.int32)
            with tf.device("CPU:0"):  # each device gets its own examples only
                images, labels = (tensor[number % local :: local] for tensor in (images, labels))
            own = tf.cast(tf.shape(labels)[0], tf.float32)
            examples = replica.all_reduce("SUM", own)
            # tf.distribute rejects a replica without examples: pad with one black image of weight zero.
            missing = tf.cast(own == 0, tf.int32)
            images = tf.pad(images, [(0, missing), (0, 0), (0, 0), (0, 0)])
            labels = tf.pad(labels, [(0, missing), *[(0, 0)] * (len(labels.shape) - 1)])
            counts = tf.cast(own > 0, tf.float32)

            offset = tf.stack([number, 0])
            for seed in seeds:  # dropout drops other units on each replica
                seed.assign(seed + tf.cast(offset, seed.dtype))
            with tf.GradientTape() as tape:
                logits = model(images, training=True)
                loss = counts * tf.cast(sum_loss(labels, logits), tf.float32) / examples
                if model.losses:
                    loss += tf.add_n(model.losses) / self.replicas
                scaled = model.optimizer.scale_loss(loss)
            for seed in seeds:
                seed.assign(seed - tf.cast(offset, seed.dtype))
            gradients = tape.gradient(scaled, model.trainable_variables)
            model.optimizer.apply(gradients, model.trainable_variables)  # sums them over the replicas
            if averages:
                means = replica.all_reduce("SUM", [own / examples * tf.convert_to_tensor(a) for a in averages])
                for variable, mean in zip(averages, means, strict=True):
                    variable.assign(mean)
            return replica.all_reduce("SUM", tf.stack([loss, counts * _matches(labels, logits), own, stop]))

        images, labels = element_spec

        @tf.function(
            input_signature=[
                tf.TensorSpec((None, *images.shape[1:]), images.dtype),
                tf.TensorSpec((None, *labels.shape[1:]), labels.dtype),
                tf.TensorSpec((), tf.float32),
            ]
        )
        def step(images, labels, stop):
            return self.strategy.experimental_local_results(self.strategy.run(on_replica, (images, labels, stop)))[0]

        return step

    @contextlib.contextmanager
    def _peers_needed(self):
        """Turns the engine's word that a worker is gone into a RunError that names it."""
        try:
            yield
        except GONE as error:
            if self.workers == 1:
                raise
            lost = self.cluster.named_in(str(error)) or self.cluster.unreachable()
            if self.workers > 2:
                time.sleep(LINGER)
            raise RunError(
                f"{self.cluster.describe(lost) or 'a worker'} is gone, and the others cannot continue without it; "
                "look for the reason there, then start the same command with --resume on every machine"
            ) from error


def check_recipe(recipe: Recipe, devices: OneDevice | Replicas) -> None:
    """Raise UserError for what each replica would do for itself, or decide for itself."""
    alone = (*CLIPPING, "accumulate_steps", "ema", "train_size", "class_weights", "teacher", "early_stopping")
    given = [field for field in alone if getattr(recipe, field) != getattr(Recipe, field)]
    given += [value for value in (recipe.loss, recipe.schedule) if value in ("class_balanced", "plateau")]
    if devices.distributed and given:
        raise UserError(f"{given[0]} is for one device; leave it out, or --strategy")


def choose(strategy: Strategy, peer_timeout: float = TrainOptions.peer_timeout) -> OneDevice | Replicas:
    """Return the devices to train on; raises UserError where `multi_worker` has no TF_CONFIG, or a broken one."""
    if strategy == "none":
        return OneDevice()
    return Replicas(Cluster.of_environment() if strategy == "multi_worker" else None, peer_timeout)


def _matches(labels, logits):
    """How many examples have their label as the highest logit; of a single logit, as its sign."""
    labels = tf.argmax(labels, -1) if len(labels.shape) == 2 else labels  # of a soft label its greatest share
    predicted = tf.argmax(logits, -1) if logits.shape[-1] > 1 else tf.cast(logits[:, 0] > 0, tf.int64)
    return tf.reduce_sum(tf.cast(predicted == labels, tf.float32))


def _results(model: keras.Model) -> dict[str, float]:
    return {name: float(value) for name, value in model.get_metrics_result().items()}


def is_chief(strategy: Strategy) -> bool:
    """Whether this process is the one that writes."""
    return choose(strategy).is_chief
