# frozen_string_literal: true

require_relative "onnx/model"

module Transfer
  # Exported models, in Ruby alone: ONNX Runtime computes the graph, this process reads the inputs
  # (docs/guides/serving-without-python.md).
  module Onnx
    # A model needs those of its modality.
    autoload :Pictures, "#{__dir__}/onnx/pictures"
    autoload :Image, "#{__dir__}/onnx/image"
    autoload :Boxes, "#{__dir__}/onnx/boxes"
    autoload :Texts, "#{__dir__}/onnx/texts"
    autoload :Sequences, "#{__dir__}/onnx/sequences"
    autoload :Tokenizer, "#{__dir__}/onnx/tokenizer"
    autoload :Rows, "#{__dir__}/onnx/rows"
    private_constant :Pictures, :Image, :Boxes, :Texts, :Sequences, :Tokenizer, :Rows

    class << self
      # @param path [String, Pathname] a file that {Transfer::Model#export} wrote
      # @param signed_by (see Transfer.load)
      # @return [Onnx::Model]
      # @raise [ModelFileError] if it is damaged, newer than this version, or not exported by it
      # @raise [SignatureError] if it is not signed by one of the keys
      # @example
      #   Transfer::Onnx.load("signs.onnx").predict("new.jpg").label
      def load(path, signed_by: nil) = Model.load(path, signed_by:)

      # @api private
      # @param path [Object] of a model
      # @return [Boolean] whether it names an exported file
      def file?(path) = path.to_s.downcase.end_with?(".onnx")

      # The libraries that exported models need.
      # @api private
      # @return [Hash{String => String, nil}] by name the file, with the version of ONNX Runtime; nil if missing
      def libraries
        runtime = begin
          Runtime.instance.then { |found| "#{found.version}, #{found.path}" }
        rescue DependencyError, ConfigurationError
          nil
        end
        { "libonnxruntime" => runtime, **Image.libraries }
      rescue DependencyError
        { "libonnxruntime" => nil }
      end

      # The exported file beside a model that needs Python, which was not found.
      # @api private
      # @param path [String, Pathname]
      # @param error [PythonNotFound]
      # @return [Onnx::Model]
      # @raise [PythonNotFound] if no exported file is beside the model
      # @raise [ModelFileError] if it was exported from another model
      def beside(path, error, signed_by: nil)
        exported = Pathname.new(path).sub_ext(".onnx")
        unless exported.file?
          raise error, "#{error.message}. Or export the model where Python is, " \
                       "model.export(\"#{exported.basename}\"), and put the file beside #{path}", cause: nil
        end

        load(exported, signed_by:).tap { |model| model.check_origin(path) }
      end
    end
  end
end
