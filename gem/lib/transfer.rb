# frozen_string_literal: true

require_relative "transfer/name_check"
require_relative "transfer/version"
require_relative "transfer/errors"
require_relative "transfer/backtrace"
require_relative "transfer/configuration"
require_relative "transfer/executor"
require_relative "transfer/suggestion"
require_relative "transfer/plain"
require_relative "transfer/numbers"
require_relative "transfer/tensor"
require_relative "transfer/tensor/packed"
require_relative "transfer/native"
require_relative "transfer/event"
require_relative "transfer/progress"
require_relative "transfer/display"
require_relative "transfer/input"
require_relative "transfer/source"
require_relative "transfer/recipe"
require_relative "transfer/prediction"
require_relative "transfer/bad_input"
require_relative "transfer/predictions"
require_relative "transfer/demand"
require_relative "transfer/embeddings"
require_relative "transfer/export_report"
require_relative "transfer/selection"
require_relative "transfer/explanation"
require_relative "transfer/features"
require_relative "transfer/similar"
require_relative "transfer/model"
require_relative "transfer/backbone"
require_relative "transfer/run"
require_relative "transfer/job"
require_relative "transfer/data_report"
require_relative "transfer/audit_report"
require_relative "transfer/ranking"
require_relative "transfer/learning_curve"
require_relative "transfer/estimate"
require_relative "transfer/domain_report"
require_relative "transfer/label_map"
require_relative "transfer/soup"

# Transfer learning in five steps: choose a pretrained backbone, freeze it, add a head, train it, fine-tune.
#
# @example
#   model = Transfer.train(backbone: "mobilenet_v2", data: "photos/")
#   model.predict("new.jpg").label  # => "stop_sign"
module Transfer
  # With their libraries these take longer to load than everything else; the first call needs them.
  autoload :Onnx, "#{__dir__}/transfer/onnx"
  autoload :Amounts, "#{__dir__}/transfer/amounts"
  autoload :Permissions, "#{__dir__}/transfer/permissions"
  autoload :Bridge, "#{__dir__}/transfer/bridge"
  autoload :Telemetry, "#{__dir__}/transfer/telemetry"
  autoload :Signature, "#{__dir__}/transfer/signature"
  autoload :Python, "#{__dir__}/transfer/python"
  autoload :Setup, "#{__dir__}/transfer/setup"
  autoload :Doctor, "#{__dir__}/transfer/doctor"
  autoload :Testing, "#{__dir__}/transfer/testing"
  autoload :Uninstall, "#{__dir__}/transfer/uninstall"
  private_constant :Amounts, :Bridge, :Telemetry, :Signature, :Uninstall

  class << self
    # Trains and waits for the model. Ctrl-C cancels the training.
    #
    # @param words the recipe's words as keywords; any other keyword is an option of `train`
    # @param quiet [Boolean, nil] true: show no progress; nil: as configured
    # @yield the words of the recipe (docs/reference/recipe.md); with an argument the block keeps its own `self`
    # @return [Model]
    # @raise [RecipeError] if a word or value is wrong; points at the line where it stands
    # @raise [DataError] if the data can't be trained on
    # @example
    #   Transfer.train(backbone: "mobilenet_v2", data: "photos/", epochs: 5)
    def train(quiet: nil, **words, &block) = Job.new(Recipe.build(words, &block), quiet:).perform

    # Trains in the background.
    # @param (see train)
    # @return [Job]
    # @raise [RecipeError] if a word is wrong; {Job#value} raises every other error
    def train_async(quiet: nil, **words, &block) = Job.new(Recipe.build(words, &block), quiet:).start

    # Checks data as {train} does, and decodes every image, without a training.
    #
    # @param words (see train); without `backbone:`, that is mobilenet_v2 and inputs are images
    # @param quiet (see train)
    # @return [DataReport]
    # @raise [RecipeError] if a word or value is wrong
    # @example
    #   report = Transfer.check(data: "photos/")
    #   puts report.problems unless report.ok?
    def check(quiet: nil, **words, &block)
      DataCheck.new(Recipe.build({ backbone: "mobilenet_v2", **words }, &block), quiet:).perform
    end

    # Audits labelled data without a training: unreadable files, exact and near duplicates, candidates for wrong labels,
    # outliers, rare labels, columns and properties of files that predict the label by themselves, and groups in several
    # parts of a split.
    #
    # @param report [String, Pathname, nil] a file `….html` for one page with the findings and their pictures
    # @param words (see rank); without `backbone:`, that is mobilenet_v2 and inputs are images
    # @param quiet (see train)
    # @yield (see train)
    # @return [AuditReport]
    # @raise [ConfigurationError] if the page can't be written
    # @raise [RecipeError] if a word is wrong, or the task is not computed from embeddings
    # @raise [DataError] if the data can't be read
    # @example
    #   Transfer.audit(data: "photos/").save("audit.csv")
    def audit(report: nil, quiet: nil, **words, &block)
      page = report && { "report" => Input.path(report.to_s), "mode" => 0o666 & ~Permissions.umask }
      DataAudit.new(Recipe.build({ backbone: "mobilenet_v2", **words }, &block), page, quiet:).perform
    end

    # Ranks backbones on labelled data: each embeds a sample once, and a cross-validated head on these embeddings gives
    # the expected metric. Embeddings are cached for the training that follows; test examples take no part.
    #
    # @param among [Array<String>, nil] names of backbones; nil: those on this machine that suit the data
    # @param modality [Symbol, nil] `:image`, `:text` or `:table`; nil: that of `among`, or of the data
    # @param budget [Numeric] seconds after which no further backbone is begun
    # @param words the recipe's words `data:`, `task:`, `columns:`, `split:`, `seed:` and others as keywords
    # @param quiet (see train)
    # @yield (see train)
    # @return [Ranking]
    # @raise [RecipeError] if a word is wrong, or no backbone can be ranked
    # @raise [DataError] if the data can't be trained on
    # @example
    #   ranking = Transfer.rank(data: "photos/")
    #   Transfer.train(backbone: ranking.best.backbone, data: "photos/")
    def rank(among: nil, modality: nil, budget: 60, quiet: nil, **words, &block)
      recipe = Recipe.build({ backbone: "mobilenet_v2", **words }, &block)
      options = { "among" => among&.map(&:to_s), "modality" => modality&.to_s, "budget" => budget.to_f }.compact
      BackboneRanking.new(recipe, options, quiet:).perform
    end

    # Estimates time, memory and disk space of each step of a training on this machine, by a pilot of seconds on a few
    # of its examples, for any task. Nothing is saved, but their embeddings or feature maps are cached for the training.
    #
    # @param words (see train)
    # @param quiet (see train)
    # @yield (see train)
    # @return [Estimate]
    # @raise [RecipeError] if a word or value is wrong, or the backbone is `:auto`, which takes its budget
    # @raise [DataError] if the data can't be trained on
    # @example
    #   estimate = Transfer.estimate(backbone: "mobilenet_v2", data: "photos/", preset: :best)
    #   puts estimate, estimate.warnings
    def estimate(quiet: nil, **words, &block) = TrainingEstimate.new(Recipe.build(words, &block), quiet:).perform

    # Measures a linear head on growing parts of the data, and extrapolates to more data: how good the model can get,
    # and of which labels more examples are worth most. All parts share the cached embeddings of the backbone.
    #
    # @param more [Integer] further examples of one label, whose gain in recall is forecast
    # @param words (see rank); without `backbone:`, that is mobilenet_v2 and inputs are images
    # @param quiet (see train)
    # @yield (see train)
    # @return [LearningCurve]
    # @raise [RecipeError] if a word is wrong
    # @raise [DataError] if the data can't be trained on, or are too few
    # @example
    #   puts Transfer.learning_curve(data: "photos/", backbone: "mobilenet_v2")
    def learning_curve(more: 200, quiet: nil, **words, &block)
      recipe = Recipe.build({ backbone: "mobilenet_v2", **words }, &block)
      LearningCurveMeasurement.new(recipe, more, quiet:).perform
    end

    # Compares two domains by the embeddings of a frozen backbone: how far apart they are, and in what they differ.
    #
    # @param first [String, Pathname, Enumerable] a folder, a manifest or rows; labels may be missing
    # @param second [String, Pathname, Enumerable] the same
    # @param words (see train); without `backbone:`, that is mobilenet_v2 and inputs are images
    # @param quiet (see train)
    # @return [DomainReport]
    # @raise [RecipeError] if a word or value is wrong
    # @raise [DataError] if a domain is empty or can't be read
    # @example
    #   puts Transfer.compare_domains("studio/", "phone/")
    def compare_domains(first, second, quiet: nil, **words)
      recipe = Recipe.build({ backbone: "mobilenet_v2", **words, data: second, source: first })
      DomainComparison.new(recipe, quiet:).perform
    end

    # Pairs each label of a source with the label of the target whose examples have the most similar mean embedding.
    #
    # @param source [String, Pathname, Enumerable] a labelled folder, manifest or rows
    # @param target [String, Pathname, Enumerable] the same, with other labels
    # @param words (see compare_domains)
    # @param quiet (see train)
    # @return [LabelMap] for the word `map_labels`
    # @raise [RecipeError] if a word or value is wrong
    # @raise [DataError] if a domain has fewer than two labels or can't be read
    # @example
    #   map = Transfer.map_labels("studio/", "phone/").with("automobile" => "car")
    #   Transfer.train(backbone: "mobilenet_v2", data: "phone/", source: "studio/", map_labels: map)
    def map_labels(source, target, quiet: nil, **words)
      recipe = Recipe.build({ backbone: "mobilenet_v2", **words, data: target, source: })
      LabelMapping.new(recipe, quiet:).perform
    end

    # Averages the weights of models that were fine-tuned from the same backbone (Wortsman et al. 2022).
    #
    # @param models [Array<Model, String, Pathname>] two or more saved models of one backbone, task, head and set of
    #   labels
    # @param data [String, Pathname, Enumerable] labelled data that none was trained on: one half selects and
    #   calibrates, the other is measured on
    # @param method [Symbol] :greedy: the best model, and each further one that doesn't lower the metric; :uniform: all
    # @param words `columns:`, `on_bad_input:`, `trust:`, `seed:`
    # @param quiet (see train)
    # @return [Model] its {Model#history} has the metric with each model
    # @raise [ConfigurationError] if the models don't fit one another
    # @raise [DataError] if the data can't be read or are too few
    # @example
    #   runs = (0..2).map { |seed| Transfer.train(backbone: "mobilenet_v2", data: "photos/", preset: :best, seed:) }
    #   Transfer.soup(runs, data: "held_out/").save("soup.transfer")
    def soup(models, data:, method: :greedy, quiet: nil, **words)
      paths = Array(models).map { |model| model.is_a?(Model) ? model.path.to_s : Input.path(model.to_s) }
      recipe = Recipe.build({ backbone: "mobilenet_v2", **words, data: })
      Soup.new(recipe, { "models" => paths, "selection" => method.to_s }, quiet:).perform
    end

    # Resumes a training that was cancelled, timed out or killed, and waits for the model: bit-identical to the model
    # of an uninterrupted training. A finished run returns its model.
    #
    # @param run [String, Pathname, Run, Job] its id, a run or a job; with `trust` also the path of a run's directory
    # @param trust [Boolean] true: read the run and let the code run that its recipe names, also if it began elsewhere
    #   or another user could have written to it
    # @param quiet (see train)
    # @param words `data:`, the same examples where they are by now; must be given, with their `columns:`, if the
    #   training began with rows. `on:`, as for {train}
    # @yield the words `on`, `data` and `columns` alone: the run has its recipe
    # @return [Model]
    # @raise [ConfigurationError] if there is no such run, it needs `trust`, or another process trains it
    # @raise [RecipeError] at `trust`, if its code may not run
    # @raise [DataError] if its examples have changed
    # @example
    #   Transfer.resume("20260314-150926-535897")
    def resume(run, quiet: nil, trust: false, **words, &block)
      Job.resume(run, Recipe.build(words, &block), quiet:, trust:).perform
    end

    # Resumes a training in the background.
    # @param (see resume)
    # @return [Job]
    def resume_async(run, quiet: nil, trust: false, **words, &block)
      Job.resume(run, Recipe.build(words, &block), quiet:, trust:).start
    end

    # The trainings that are kept on this machine: running, interrupted and finished ones.
    # @return [Array<Run>] the oldest first
    # @example
    #   Transfer.runs.select(&:resumable?).each(&:remove)
    #   Transfer::Run.prune(older_than: "30d", max_size: "2GB")
    def runs = Bridge.call("runs").map { |plain| Run.new(plain) }

    # @return [Array<Run>] the interrupted trainings, the oldest first
    def resumable = runs.select(&:resumable?)

    # Loads a saved model, or an exported one (`.onnx`), which needs no Python. Where no Python is found, a saved model
    # is replaced by the file of the same name that was exported from it, if it is in the same folder.
    #
    # @param path [String, Pathname] a `.transfer` or `.onnx` file
    # @param trust [Boolean] true lets the code run that the file names (a model of PyTorch Hub does), now and whenever
    #   this file is used by this user again; models that were trained here need no such word
    # @param signed_by [String, Pathname, OpenSSL::PKey::PKey, Array, nil] Ed25519 public keys: paths, text in PEM or
    #   OpenSSH format, or objects. One of them must have signed the file, now and whenever it is read again. nil: those
    #   of {Configuration#require_signature}
    # @return [Model, Onnx::Model]
    # @raise [ModelFileError]
    # @raise [SignatureError] if the file is not signed by one of the keys
    # @raise [PythonNotFound] for a saved model without Python and without an exported file
    # @example
    #   Transfer.load("signs.transfer", signed_by: "release.pub.pem")
    def load(path, trust: false, signed_by: nil)
      return Onnx.load(path, signed_by:) if Onnx.file?(path)

      Model.load(path, trust:, signed_by:)
    rescue PythonNotFound => error
      Onnx.beside(path, error, signed_by:)
    end

    # Starts the worker in the background, lets it import PyTorch, and loads a model into it, so that the first request
    # need not wait. Nothing is started unless this is called: not by `require`, nor when Rails boots.
    #
    # Call it in the process that predicts, after a fork. A failure is a warning, on the logger if there is one; the
    # next call raises it.
    #
    # @param model [Model, String, Pathname, nil] a model, or the path of a saved one
    # @return [Thread] `join` waits until all is loaded
    # @example In config/puma.rb
    #   on_worker_boot { Transfer.warm_up("models/signs.transfer") }
    def warm_up(model = nil)
      thread = Thread.new do
        loaded = load(model) if model && !model.is_a?(Model)
        Bridge.call("ping") unless (loaded || model).is_a?(Onnx::Model)
        (loaded || model)&.reload
      rescue Error => error
        Telemetry.event({ "event" => "warning", "message" => "warm-up failed: #{error.message}" })
      end
      thread.name = "transfer-warm-up"
      thread
    end

    # Lists pretrained backbones, the most relevant first: those trained for a similar task, then by their published
    # metric compared with backbones of the same size.
    #
    #   Transfer.backbones(task: :image_classification, max_parameters: 10_000_000, license: "Apache-2.0")
    #
    # @param task [Symbol, String, nil] `:image_classification`, `:image_regression`, `:detection`,
    #   `:text_classification` or `:text_regression`
    # @param max_parameters [Numeric, nil] at most so many parameters
    # @param license [String, nil] only weights under this licence
    # @param source [Symbol, String, nil] only of `:torchvision`, `:nanodet`, `:ssdlite`, `:timm`, `:huggingface` or
    #   `:keras`
    # @param offline [Boolean] only those whose weights are on this machine
    # @return [Array<Backbone>]
    # @raise [RecipeError] for a word that is unknown, with the nearest
    def backbones(task: nil, max_parameters: nil, license: nil, source: nil, offline: false)
      words = { task:, license:, source: }.compact.to_h { |word, value| [word.to_s, value.to_s] }
      asked = { **words, "max_parameters" => max_parameters, "offline" => offline }.compact
      Bridge.call("backbones", asked).map { |facts| Backbone.new(facts) }
    end

    # @param name [String, Symbol]
    # @param trust [Boolean] true lets code run that comes with the backbone, as in a training
    # @return [Backbone]
    # @raise [RecipeError] if there is no such backbone, or if its code may not run
    def backbone(name, trust: false)
      Backbone.new(Bridge.call("backbone", { "name" => name.to_s, "trust" => trust }))
    end

    # Makes the managed Python environment, as the command `transfer setup` does; nothing if it is there.
    #
    # @param words (see Setup#initialize)
    # @return [String] its interpreter
    # @raise [ConfigurationError, DependencyError]
    def setup(**words) = Setup.new(**words).run

    # @return [Configuration]
    def config = @config ||= Configuration.new

    # @yieldparam config [Configuration]
    def configure = yield(config)

    # What goes on: `{workers:, calls:}`. By role (`:train`, `:serve`) the `processes`, each with `pid`, `memory`
    # (bytes), `in_flight`, `calls`, `age` and `idle` (seconds), and how often they were restarted and crashed; by
    # method `count`, `failed`, and percentiles of `seconds` and of `inputs` per call over the last thousand.
    #
    # @return [Hash{Symbol => Hash}] starts nothing
    def stats = autoload?(:Bridge) ? { workers: {}, calls: {} } : Bridge.stats

    # Ends the Python processes of this process and waits for their end. The next call starts new ones.
    #
    # @param shared [Boolean] true: also the worker that other processes may be using ({Configuration#shared_worker});
    #   their calls end with {Cancelled}
    def shutdown(shared: false)
      Bridge.shutdown(shared:) if shared || !autoload?(:Bridge)
      nil
    end
  end
end

# Not for `transfer/namespaced`: the application has a `Transfer` of its own.
require_relative "transfer/engine" if defined?(Rails::Engine) && Transfer.name == "Transfer"
