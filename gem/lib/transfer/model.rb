# frozen_string_literal: true

require_relative "recipe/augmentations"
require_relative "value_object"
require_relative "model/evaluation"
require_relative "model/predicting_all"
require_relative "model/explaining"

module Transfer
  # A trained model. It refers to a file, whose path is sent to the worker with every call, so that the model stays
  # usable when the worker is replaced, after a fork, and in another process that has the file.
  class Model
    include ValueObject
    include Evaluation
    include Explaining
    include PredictingAll

    # Inputs of a batch of a stream, and of its first batch, so that the first predictions come soon.
    STREAMED = 64
    FIRST = 8
    private_constant :STREAMED, :FIRST

    class << self
      # @param path [String, Pathname] a `.transfer` file
      # @param trust [Boolean] true lets the code run that the file names, from now on (see {Transfer.load})
      # @param signed_by (see Transfer.load)
      # @return [Model]
      # @raise [ModelFileError] if it is damaged, newer than this version, or no model
      # @raise [SignatureError] if it is not signed by one of the keys
      def load(path, trust: false, signed_by: nil)
        demand = Demand.new(signed_by)
        params = { "model" => Input.path(path.to_s), "trust" => trust, **demand.to_h }
        new(Bridge.call("describe", params), demand)
      end
    end

    # Of a score on the wire: a float of 9 bytes, and the length of its label.
    SCORE_BYTES = 14
    private_constant :SCORE_BYTES

    # @return [Pathname] the file
    attr_reader :path
    # @return [Hash{Symbol => Object}] measured on examples that neither trained nor chose the model
    attr_reader :metrics
    # @return [Array<Hash{Symbol => Object}>] one entry per epoch or fit
    attr_reader :history
    # @return [Array<String>] the classes or labels in their order; for a regression the names of the outputs
    attr_reader :labels
    # @return [Hash{Symbol => Object}] the whole recipe, including what the preset chose
    attr_reader :recipe
    # @return [Array<String>] the warnings of the training: reasons to distrust data, settings or metrics
    attr_reader :warnings
    # @return [Hash{Symbol => Object}, nil] weights of the source examples of a training with `weigh`: `method`,
    #   `examples`, the `effective` number of equally weighted ones, and the 500 with the largest (`most`) and the
    #   smallest weights (`least`), each `input` (a path, or the beginning of a text or row) and `weight`, of mean 1
    attr_reader :instance_weights
    # @return [Symbol] :classification, :multi_label, :regression, :detection, :translation or :text_to_text
    attr_reader :task
    # @return [Symbol] of the inputs: :image, :text or :table
    attr_reader :modality
    # @return [String] the name of the backbone
    attr_reader :backbone
    # @return [Hash{Symbol => Object}] all metadata of the file
    attr_reader :summary

    # @param summary [Hash{String => Object}] a model summary of the protocol
    # @param demand [Demand, nil] which signature the file must have; nil: none, as of a model that was trained here
    # @api private
    def initialize(summary, demand = nil)
      @demand = demand
      @summary = Plain.symbolize(summary)
      @path = Pathname.new(@summary.fetch(:path))
      weights = @summary[:instance_weights]
      @instance_weights = weights unless weights.nil? || weights.empty?
      @task, @modality = @summary.values_at(:task, :modality).map(&:to_sym)
      @metrics, @history, @labels, @recipe, @backbone, @warnings =
        @summary.values_at(:metrics, :history, :labels, :recipe, :backbone, :warnings)
      @metrics = Metrics[@metrics].freeze
    end

    # Predicts the label, labels or number of one input, or of many a batch at a time.
    #
    # @param input [String, Pathname, IO, Hash, #each] an input of the backbone's kind, or many of them: an Array, a
    #   relation, any Enumerable. An image is a path, bytes, an IO, an attachment, or a record with one attachment; a
    #   text a String, a pair of texts an Array of two (in an Array); a row of a table a Hash of columns, or a record.
    # @param level [Float, nil] coverage such as 0.9: adds the set or the interval that contains the truth with this
    #   probability
    # @param on_bad_input [Symbol] for inputs that can't be read: :raise one error that names all of them (of a batch),
    #   :skip them with a warning (one input alone gives nil), or :mark: a {BadInput} in place of the prediction
    # @param tile [Boolean] true: objects are also looked for in overlapping parts of images that are much larger than
    #   the network's input (object detection)
    # @param augment [Boolean, Array<Symbol, Hash>] test-time augmentation: the mean of the probabilities or values over
    #   views of an image; true (crops), or augmentations as in a recipe, such as `[:flip]`
    # @param min_score [Float, nil] the least score of boxes in place of the thresholds of their classes; 0: all boxes,
    #   at most 100 per image (object detection)
    # @yieldparam prediction [Prediction, BadInput] in the order of the inputs; the next batch is predicted meanwhile
    # @return [Prediction, BadInput, nil] of one input
    # @return [Array<Prediction, BadInput>] of many
    # @return [Enumerator::Lazy] of a lazy enumerator; nothing is read before the first prediction is taken, then at
    #   most 128 inputs ahead of the predictions taken so far
    # @return [self] with a block, which gets each prediction as soon as its batch is done
    # @raise [DataError] if inputs can't be read
    # @raise [ArgumentError] for an input of another kind
    # @raise [RecipeError] if the model can't guarantee this coverage
    # @example
    #   model.predict(Photo.find_each.lazy, on_bad_input: :mark) { |prediction| puts prediction }
    def predict( # rubocop:disable Metrics/ParameterLists
      input, level: nil, on_bad_input: :raise, tile: false, augment: false, min_score: nil, &
    )
      on_bad_input = one_of(%i[raise skip mark], on_bad_input)
      params = { "level" => level && Float(level), "on_bad_input" => "mark", "tile" => (tile ? true : nil),
                 "augment" => Recipe::Augmentations.wire(augment),
                 "min_score" => min_score && Float(min_score) }.compact
      many = Input.several?(input)
      streamed = block_given? || input.is_a?(Enumerator::Lazy)
      predictions = Predictions.new(batches(many ? input : [input], streamed), on_bad_input, streamed:) do |inputs|
        call("predict", { "inputs" => inputs, **params })
      end
      return tap { predictions.each(&) } if block_given?
      return predictions.first unless many

      streamed ? predictions.lazy : predictions.to_a
    end

    # Generates a text by greedy decoding, and yields it piece by piece, each as soon as it is final. An exception in
    # the block, or `break`, cancels the generation.
    # @param text [String]
    # @yieldparam piece [String] joined, the pieces are the text
    # @return [Prediction::Text]
    # @return [Enumerator] without a block
    # @raise [DataError] if the text is empty
    # @raise [ConfigurationError] if the model generates no texts
    # @example
    #   model.stream(article) { |piece| response.stream.write(piece) }
    def stream(text)
      return enum_for(:stream, text) unless block_given?

      on_event = ->(event) { yield event["text"] if event["event"] == "piece" }
      Prediction.parse(call("stream", { "text" => Input.wire(text, "text") }, timeout: nil, &on_event))
    end

    # @param input (see #predict)
    # @param as [Symbol] :array, or :tensor for many images: a row for each, of 4 bytes per number
    # @return [Array<Float>, Array<Array<Float>>, Tensor] the output of the backbone for each input
    # @example All embeddings of a folder as a Numo::SFloat
    #   model.embed(Dir["photos/*.jpg"], as: :tensor).to_numo
    def embed(input, as: :array)
      raise ArgumentError, "as is :array or :tensor, got #{as.inspect}" unless %i[array tensor].include?(as)

      many = Input.several?(input)
      batches = Input::Batches.new(many ? input : [input], modality.to_s)
      embeddings = Embeddings.new(batches, summary[:embedding_width]) { |inputs| call("embed", { "inputs" => inputs }) }
      return embeddings.to_tensor if as == :tensor

      many ? embeddings.to_a : embeddings.to_a.first
    end

    # Trains a new model on new examples and classes, and on those that this model stores, so that nothing is forgotten:
    # `metrics[:kept]` has the metric on this model's test examples before and after. Known examples are left out.
    #
    # @param data [String, Pathname, Enumerable] labelled data, as for {Transfer.train}
    # @param words the words `columns:`, `split:`, `seed:`, `device:`, `precision:`, `on_bad_input:`, `on:` and `quiet:`
    # @return [Model] the new model; this one is unchanged
    # @raise [RecipeError] if the model stores no examples, or for another word
    # @raise [DataError] if the data can't be used, gives an example another label than before, or has nothing new
    # @example
    #   model = model.continue("more_photos/")
    def continue(data, **words) = Transfer.train(from: path, data:, **words)

    # Selects the inputs to label next (active learning): those whose labels are expected to improve the model the most.
    # Of copies and near-duplicates one is selected at most.
    #
    # @param unlabelled [String, Pathname, #each] a folder of images, a manifest, or inputs as for {#predict}
    # @param count [Integer] inputs to select
    # @param method [Symbol] :uncertainty, the highest entropy of the prediction; :margin, the smallest difference
    #   between the two highest probabilities; :core_set, inputs that cover the others; :badge, uncertain and different
    #   inputs (classification only); :random; or :auto: :margin, and :core_set for a regression
    # @param labelled the labelled data so far, in the same forms: its inputs and their near-duplicates are not
    #   selected, and :core_set selects inputs far from them
    # @param words [Hash{Symbol => Object}] `columns`, names of a manifest's columns; `on_bad_input`, :raise or :skip
    # @return [Selection] the most useful first
    # @raise [RecipeError] if the method is not for the task of the model, or a word is wrong
    # @raise [DataError] if inputs can't be read
    # @example
    #   model.select("new/", count: 50).map(&:input)   # => ["new/IMG_0231.jpg", ...]
    def select(unlabelled, count: 50, method: :auto, labelled: nil, **words)
      columns, on_bad_input = select_words(**words)
      sources = { "unlabelled" => unlabelled, "labelled" => labelled }.compact.transform_values do |data|
        Source.new(rows(data), columns:, labelled: false)
      end
      params = { "count" => count, "method" => method.to_s, "columns" => columns,
                 "on_bad_input" => on_bad_input, **sources.transform_values(&:wire) }.compact
      Selection.new(call("select", params, streams: sources.values.map(&:streams).reduce({}, :merge), timeout: nil))
    end

    # Waits until the worker has read the present content of the file, for instance after a deployment. Without it, the
    # next predictions detect the changed file and have it read.
    # @return [Model] a new one of the same file, with its present metadata
    # @raise [ModelFileError] if it contains no model; the previous model keeps serving
    # @raise [SignatureError] if the file lacks the required signature; the previous model keeps serving
    def reload = Model.new(call("reload", {}), @demand)

    # Writes the model into one file. A new file gets the permissions that the umask of this process leaves; one of the
    # same user that is replaced keeps its own. A link is replaced, not followed.
    # @param file [String, Pathname]
    # @param backbone [Boolean] false: a small file, which needs the same pretrained weights to be loaded
    # @param sign [String, Pathname, OpenSSL::PKey::PKey, nil] an Ed25519 private key: the path of a PEM file, such
    #   text, or an object. It stays in this process; the signature is written to a file of the same name with `.sig`
    #   appended. nil: none, and a signature of the file before is removed
    # @return [Pathname] the file
    # @raise [SignatureError] if the key is unusable; nothing is written then
    def save(file, backbone: true, sign: nil)
      key = sign && Signature::Keys.private(sign)
      params = { "path" => Input.path(file.to_s), "backbone" => backbone, "mode" => 0o666 & ~Permissions.umask }
      saved = call("save", params)
      Signature.write(saved.fetch("path"), key, saved.fetch("sha512")) if key
      Pathname.new(saved.fetch("path"))
    end

    # Writes the model as one ONNX file that predicts without Python (docs/reference/onnx_file.md). ONNX Runtime runs
    # the file, and its predictions are compared with the model's, before it is written.
    # @param file [String, Pathname] the file, `….onnx`
    # @param precision [Symbol] of the network: :float32; :float16, weights of half the size; or :int8, weights of a
    #   quarter of the size and calculations in 8 bits
    # @param calibration for :int8 labelled data, such as the training data; 200 examples do. Without `evaluation`, half
    #   of them are measured on.
    # @param evaluation labelled data to compare the file and the model on
    # @param words [Hash{Symbol => Object}] `columns`, names of a manifest's columns; `tolerance`, the largest allowed
    #   loss of accuracy (micro F1, R²), default 0.01, one point; `loader`, :python, :ruby or :browser: also write a
    #   short script that predicts with the file
    # @return [ExportReport]
    # @raise [ConfigurationError] if the file can't be written, the model has no form in standard operators, or more
    #   than the tolerance is lost; nothing is written then
    # @raise [DependencyError] if onnx or onnxruntime is missing
    # @raise [DataError] if the data can't be read
    # @example
    #   model.export("signs.onnx", precision: :int8, calibration: "photos/").after   # => 0.82
    def export(file, precision: :float32, calibration: nil, evaluation: nil, **words)
      columns, tolerance, loader = export_words(**words)
      given = { "calibration" => calibration, "evaluation" => evaluation }.compact
      sources = given.transform_values { |data| Source.new(data, columns:) }
      params = { "path" => Input.path(file.to_s), "precision" => precision.to_s, "tolerance" => tolerance,
                 "loader" => loader, "columns" => columns, "mode" => 0o666 & ~Permissions.umask }
      params = { **params.compact, **sources.transform_values(&:wire) }
      streams = sources.values.map(&:streams).reduce({}, :merge)
      ExportReport.parse(call("export", params, streams:, timeout: nil))
    end

    # @return [Hash{Symbol => Object}] {#summary} with `path`, `task` and `modality` as the attributes return them
    def to_h = { **summary, path:, task:, modality: }

    def ==(other) = other.is_a?(Model) && path == other.path
    alias eql? ==
    def hash = path.hash

    def inspect
      what = labels.size > 3 ? "#{labels.size} labels" : labels.join(", ")
      shown = metrics.select { |_, value| value.is_a?(Numeric) }.first(metrics.key?(:balanced_accuracy) ? 2 : 1)
      measures = [*shown.map { |name, value| "#{name} #{value.round(3)}" }, *worst_group]
      "#<#{self.class} #{path.basename}: #{[backbone, "#{task} of #{what}", *measures].join(', ')}>"
    end
    alias to_s inspect

    private

    def export_words(columns: nil, tolerance: 0.01, loader: nil)
      [wire_columns(columns), Float(tolerance), loader&.to_s]
    end

    def select_words(columns: nil, on_bad_input: :raise) = [wire_columns(columns), raise_or_skip(on_bad_input).to_s]

    def worst_group
      name, rows = metrics.fetch(:groups, {}).values_at(:worst, :per_group)
      name && "worst group #{name} #{rows.find { |one| one[:group] == name }[:value].round(3)}"
    end

    def wire_columns(columns)
      unless columns.nil? || columns.is_a?(Hash)
        raise ArgumentError, "columns is a Hash such as { target: \"species\" }, got #{columns.inspect}"
      end

      columns&.to_h { |name, column| [name.to_s, column.is_a?(Array) ? column.map(&:to_s) : column.to_s] }
    end

    # Inputs as rows of data; rows and records stay as they are.
    def rows(inputs)
      return inputs unless inputs.respond_to?(:find_each) || Input.several?(inputs)

      Enumerator.new do |rows|
        row = lambda do |one|
          bare = one.is_a?(Array) || %i[to_str to_path read download].any? { |name| one.respond_to?(name) }
          rows << (bare ? { input: one } : one)
        end
        inputs.respond_to?(:find_each) ? inputs.find_each(&row) : inputs.each(&row)
      end
    end

    def batches(inputs, streamed)
      size = streamed ? [most_predictions, STREAMED].min : most_predictions
      Input::Batches.new(inputs, modality.to_s, size:, first: streamed ? [size, FIRST].min : size)
    end

    # Predictions that fit into one message: each has a score for every label.
    def most_predictions
      @most_predictions ||= begin
        bytes = labels.sum { |label| label.bytesize + SCORE_BYTES }
        (Input::BATCH_BYTES / [bytes, 1].max).clamp(1, Input::BATCH_SIZE)
      end
    end

    def raise_or_skip(given) = one_of(%i[raise skip], given)

    def one_of(words, given)
      found = words.find { |word| word.to_s == given.to_s }
      return found if found

      *others, last = words.map(&:inspect)
      raise ArgumentError, "on_bad_input is #{others.join(', ')} or #{last}, got #{given.inspect}"
    end

    def call(name, params, **, &) = Bridge.call(name, { "model" => path.to_s, **@demand.to_h, **params }, **, &)
  end
end
