# frozen_string_literal: true

module Transfer
  class Recipe
    # The words of a recipe that may name files. Relative paths start at this process's folder, not at the worker's.
    module Files
      SOURCE = %r{\A(?:hf|keras|tensorflow|onnx|torchhub)[:/]}
      # What follows the folder of a clone.
      MODEL = /:\w+\z/
      private_constant :SOURCE, :MODEL

      class << self
        # @param words [Hash{String => Object}] the wire form
        # @return [Hash{String => String}] the words that name a file or a folder that is there, with its absolute path
        def absolute(words)
          found = %w[backbone weights from corrections].to_h { |word| [word, named(words[word])] }.compact
          distill = words["distill"]
          teacher = named(distill["from"]) if distill.is_a?(Hash)
          teacher ? { **found, "distill" => { **distill, "from" => teacher } } : found
        end

        # @param words [Hash{String => Object}] the wire form
        # @return [Hash{String => String}] engine and storage of the words, or of the settings; empty on this machine
        def cluster(words = {})
          engine, storage = %w[engine storage].map { |word| (words[word] || Transfer.config.public_send(word))&.to_s }
          return {} unless engine

          storage = Input.path(storage) unless storage.nil? || storage.include?("://")
          { "engine" => engine, "storage" => storage }.compact
        end

        private

        def named(value)
          return unless value.is_a?(String)

          source = value[SOURCE] || ""
          model = source.start_with?("torchhub") ? value[MODEL] || "" : ""
          path = value.delete_prefix(source).delete_suffix(model)
          return if path.empty? || !File.exist?(expanded = Input.path(path))

          source + expanded + model unless source.empty? && !path.match?(%r{[/.]})
        rescue DataError
          nil
        end
      end
    end
    private_constant :Files
  end
end
