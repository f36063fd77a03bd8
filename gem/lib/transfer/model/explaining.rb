# frozen_string_literal: true

module Transfer
  class Model
    # Explanations of predictions.
    module Explaining
      # Explains a prediction by contributions of pixels, words or columns. By default the method follows from backbone
      # and head.
      #
      # @param input (see Model#predict)
      # @param words [Hash{Symbol => String, Symbol, nil}] `for`, the class, label or output to explain, by default the
      #   most probable one (of a regression the first output); of a detector only boxes of this class; of a model that
      #   generates texts the target to align. `against`, a class or output: explain the difference of both scores.
      #   `method`, :auto or one of :hirescam, :attention, :rollout, :linear, :integrated_gradients, :occlusion, :rise
      #   and :cross_attention, where it applies
      # @return [Explanation]
      # @raise [DataError] if the input can't be read
      # @raise [RecipeError] if the model has no such label, or the method does not apply
      # @raise [ArgumentError] for several inputs, or an input of another kind
      # @example
      #   model.explain("photo.jpg").save("why.png")
      #   model.explain("photo.jpg", for: "stop", against: "yield").heatmap
      #   detector.explain("street.jpg").boxes.first.overlay
      def explain(input, **words)
        unknown = words.keys - %i[for against method]
        if unknown.any?
          raise ArgumentError, "unknown keyword: #{unknown.first.inspect}. Expected for:, against: and method:"
        end

        params = { "input" => one_input("explain", input), "label" => words[:for]&.to_s,
                   "against" => words[:against]&.to_s, "method" => words[:method]&.to_s }
        Explanation.new(call("explain", params.compact, timeout: nil))
      end

      private

      # @return the input on the wire
      def one_input(verb, input)
        pair = modality == :text && input.is_a?(Array) && input.size == 2
        raise ArgumentError, "#{verb} takes one input, got several" if Input.several?(input) && !pair

        Input.wire(input, modality.to_s)
      end
    end
  end
end
