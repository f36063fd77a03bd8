# frozen_string_literal: true

require_relative "exported_file"
require_relative "outcome"
require_relative "session"
require_relative "model_digest"
require_relative "threads"

module Transfer
  module Onnx
    # An exported model, which predicts in this process without Python. Threads share it. A forked process loads the
    # graph at its first prediction.
    class Model < Transfer::Model
      READERS = { "image" => :Pictures, "text" => :Texts, "table" => :Rows }.freeze
      NEEDS_PYTHON = "is an exported model, which only predicts. Fix: use its .transfer file, with Python"
      # Messages of ONNX Runtime about operators, and versions of files, that it lacks.
      NEWER = /opset|IR version|not a registered function|No Op registered|could not find an implementation/i
      SIGNATURE = /\S+\.(?:cc|h):\d+ [^()]+\((?:[^()]|\([^()]*\))*\) /
      private_constant :READERS, :NEEDS_PYTHON, :NEWER, :SIGNATURE

      class << self
        # @param path [String, Pathname] a file that {Transfer::Model#export} wrote
        # @param signed_by (see Transfer.load)
        # @return [Model]
        # @raise [ModelFileError] if it is damaged, newer than this version, or not exported by it
        # @raise [SignatureError] if it is not signed by one of the keys
        def load(path, signed_by: nil)
          demand = Demand.new(signed_by)
          new(ExportedFile.new(Input.path(path.to_s), demand), demand)
        end
      end

      # @param file [ExportedFile]
      # @param demand [Demand]
      # @api private
      def initialize(file, demand)
        @file = file
        @mutex = Mutex.new
        reader = file.description.generates? ? :Sequences : READERS.fetch(file.description.modality)
        @reader = Onnx.const_get(reader).new(file)
        super({ **file.description.summary, "path" => file.path, "bytes" => file.size }, demand)
      rescue Description::Invalid => error
        raise ModelFileError, "#{file.path}: #{error.message}", cause: nil
      end

      # Reads the present content of the file and gets it ready to predict.
      # @return [Model] a new one
      # @raise (see Model.load)
      def reload = Model.new(ExportedFile.new(@file.path, @demand), @demand).tap { |model| model.send(:session) }

      # @api private
      # @param model [String, Pathname] the file of a model
      # @raise [ModelFileError] if this one was not exported from it
      def check_origin(model)
        return if @file.description.model_digest == ModelDigest.of(model)

        raise ModelFileError, "#{path} was not exported from #{model}. Fix: export it again, or load #{path} itself"
      end

      # @raise [ConfigurationError] always
      def evaluate(*, **) = refuse

      # @raise [ConfigurationError] always
      def explain(*, **) = refuse

      # @raise [ConfigurationError] always
      def save(*, **) = refuse

      # @raise [ConfigurationError] always
      def export(*, **) = refuse

      private

      def refuse = raise(ConfigurationError, "#{path} #{NEEDS_PYTHON}")

      # In place of the worker.
      def call(name, params, **)
        %w[tile augment min_score].each { |word| refuse_word(word) if params[word] }
        Telemetry.call(name, inputs: params["inputs"].size, model: @file.path) do
          name == "embed" ? embeddings(params["inputs"]) : predictions(params["inputs"], params["level"])
        end
      end

      def predictions(inputs, level)
        Outcome.check_level(@file.description, level)
        names = Outcome::OUTPUTS.fetch(@file.description.task) + (Outcome::NOVELTY & @file.outputs)
        results = outputs(inputs, names) { |found, given| prediction(found.transform_values(&:to_a), given, level) }
        results.map { |result| result.is_a?(DataError) ? { "error" => result.message, **result.details } : result }
      end

      def prediction(found, given, level)
        return @reader.prediction(found) if @file.description.generates?

        Outcome.of(@file.description, found, level, given["size"]&.to_a)
      end

      def refuse_word(word)
        raise ConfigurationError, "#{path} is an exported model, which takes whole images. " \
                                  "Fix: leave out #{word}, or use its .transfer file, with Python"
      end

      def embeddings(inputs)
        unless @file.outputs.include?("embedding")
          raise ConfigurationError, "#{path} has no embeddings: models of the task #{task} have none"
        end

        rows = outputs(inputs, ["embedding"]) { |found| found["embedding"].data }
        error = rows.grep(DataError).first
        raise error if error

        Tensor.new(dtype: "float32", shape: [rows.size, @file.description.embedding_width], bytes: rows.join)
      end

      # @yieldparam outputs [Hash{String => Value}] of an input
      # @yieldparam given [Hash{String => Value}] the inputs of the graph
      # @return [Array] results of the block, or the DataError of an input
      def outputs(inputs, names)
        session = session()
        Threads.map(inputs) do |input, i|
          values = @reader.read(input, name_of(i, inputs.size))
          yield checked(run(session, values, names)), values
        rescue DataError => error
          error
        end
      end

      def name_of(index, count) = count == 1 ? "the #{one}" : "#{one} #{index + 1} of #{count}"

      def one = modality == :table ? "row" : modality.to_s

      # One for all threads of a process.
      def session
        @mutex.synchronize do
          next @session if @session&.usable?

          @session = @file.with_content { |content| Session.new(content, threads: Threads.most) }
        end
      rescue Runtime::Failure => error
        version = Runtime.instance.version
        raise ModelFileError, "#{path} can't be loaded by ONNX Runtime #{version}: #{one_line(error.message)}. " \
                              "#{remedy(error.message)}", cause: nil
      end

      def run(session, values, names)
        session.run(values, names)
      rescue Runtime::Failure => error
        raise OutOfMemory, "#{path}: #{one_line(error.message)}", cause: nil if error.message.match?(/alloc/i)

        raise ModelFileError, "#{path} can't be computed: #{one_line(error.message)}", cause: nil
      end

      # ONNX Runtime's message without the signature of the function that raised it.
      def one_line(message)
        Plain.excerpt(message.sub(SIGNATURE, "").split.join(" ")).delete_suffix(".")
      end

      def remedy(message)
        return "Fix: install a newer ONNX Runtime" if message.match?(NEWER)

        "Fix: export the model again (model.export)"
      end

      def checked(outputs)
        unless fit?(outputs)
          shapes = outputs.map { |name, value| "#{name} #{value.shape}" }
          raise ModelFileError, "#{path}: its outputs have the wrong shapes: #{shapes.join(', ')}"
        end
        return outputs if outputs.each_value.all? { |value| value.to_a.all? { |n| n.is_a?(Integer) || n.finite? } }

        raise ModelFileError, "#{path}: its predictions are not finite numbers"
      end

      def fit?(outputs)
        return Boxes.fit?(outputs, @file.description.labels.size) if outputs.key?("corners")
        return outputs.values_at("tokens", "score").map { |value| value.shape.size } == [1, 1] if outputs.key?("tokens")

        outputs.all? { |name, value| value.shape == shape_of(name) }
      end

      def shape_of(output)
        return [1] if Outcome::NOVELTY.include?(output)

        [1, output == "embedding" ? @file.description.embedding_width : @file.description.labels.size]
      end
    end
  end
end
