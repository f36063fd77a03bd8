# frozen_string_literal: true

module Transfer
  class Model
    # Explanations of predictions.
    module Explaining
      # Explains a prediction by contributions of pixels, words or columns. The method follows from backbone and head.
      #
      # @param input (see Model#predict)
      # @param words [Hash{Symbol => String, nil}] `for`, the class, label or output to explain, by default the most
      #   probable one (of a regression the first output); `against`, a class: explain the difference of both scores
      # @return [Explanation]
      # @raise [DataError] if the input can't be read
      # @raise [RecipeError] if the model has no such label, or it detects objects or generates texts
      # @raise [ArgumentError] for several inputs, or an input of another kind
      # @example
      #   model.explain("photo.jpg").save("why.png")
      #   model.explain("photo.jpg", for: "stop", against: "yield").heatmap
      def explain(input, **words)
        unknown = words.keys - %i[for against]
        raise ArgumentError, "unknown keyword: #{unknown.first.inspect}. Expected for: and against:" if unknown.any?

        pair = modality == :text && input.is_a?(Array) && input.size == 2
        raise ArgumentError, "explain takes one input, got several" if Input.several?(input) && !pair

        params = { "input" => Input.wire(input, modality.to_s), "label" => words[:for]&.to_s,
                   "against" => words[:against]&.to_s }
        Explanation.new(call("explain", params.compact, timeout: nil))
      end
    end
  end
end
