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

      # @param input an image (see Model#predict)
      # @param block [String, Symbol, nil] a block, as in `unfreeze`; nil: the last one with spatial maps or patches
      # @param most [Integer] channels
      # @return [Features] the most active channels of the block
      # @raise [DataError] if the image can't be read
      # @raise [RecipeError] if the model takes other inputs, has no such block, or is no network of PyTorch
      # @example
      #   model.features("photo.jpg", block: "features_3").save("channels.png")
      def features(input, block: nil, most: 16)
        params = { "input" => one_input("features", input), "block" => block&.to_s, "most" => Integer(most) }
        Features.new(call("features", params.compact, timeout: nil))
      end

      # @param input an image or a text (see Model#predict)
      # @return [AttentionMaps] the attention of a transformer, per head and rolled out
      # @raise [DataError] if the input can't be read
      # @raise [RecipeError] if the network has no attention over all tokens
      # @example
      #   model.attention("What a day!").heads.shape   # => [6, 12, 7, 7]
      def attention(input)
        AttentionMaps.new(call("attention", { "input" => one_input("attention", input) }, timeout: nil))
      end

      # The stored training examples nearest to an input, by the distance of their embeddings. A model stores up to
      # 1,000 training examples, chosen at random.
      # @param input (see Model#predict)
      # @param count [Integer]
      # @return [Array<Similar>] the nearest first
      # @raise [DataError] if the input can't be read
      # @raise [RecipeError] if the model stores no examples, or `count` is less than 1
      # @example
      #   model.similar("photo.jpg", 3).map(&:name)   # => ["stop/12.jpg", "stop/3.jpg", "yield/7.jpg"]
      def similar(input, count = 5)
        params = { "input" => one_input("similar", input), "count" => Integer(count) }
        call("similar", params, timeout: nil).map { |plain| Similar.parse(plain) }
      end

      # The stored training examples that influence a prediction most: the change of the log probability of the
      # predicted class or label, or of the first predicted value, by having an example in the training, is estimated by
      # influence functions (Koh and Liang 2017).
      # @param input (see Model#predict)
      # @param count [Integer]
      # @return [Array<Influential>] those of the largest influence first, positive or negative
      # @raise [DataError] if the input can't be read
      # @raise [RecipeError] if the head is not linear, fitted by L-BFGS on a frozen backbone with examples of equal
      #   weight; if the model stores no examples, or `count` is less than 1
      # @example
      #   model.influential("photo.jpg").first.influence   # => 0.12
      def influential(input, count = 5)
        params = { "input" => one_input("influential", input), "count" => Integer(count) }
        call("influential", params, timeout: nil).map { |plain| Influential.parse(plain) }
      end

      # Measures whether explanations are faithful: parts are removed and added in their order, the most important first
      # (docs/reference/explanation.md).
      # @param inputs [Enumerable] images or texts that the model was not trained on
      # @param method [Symbol] as for {#explain}
      # @param most [Integer] inputs that are measured at most
      # @param seed [Integer]
      # @return [Hash{Symbol => Object}] `method`, `inputs`, `deletion`, `random_deletion`, `insertion`,
      #   `random_insertion`, `randomized` and `better_than_random`
      # @raise [DataError] if an input can't be read
      # @raise [RecipeError] if the model is no classifier of images or texts, or the method does not apply
      # @example
      #   model.faithfulness(Dir["unseen/*.jpg"])[:better_than_random]   # => true
      def faithfulness(inputs, method: :auto, most: 20, seed: 0)
        wired = inputs.first(most).map { |input| Input.wire(input, modality.to_s) }
        params = { "inputs" => wired, "method" => method.to_s, "most" => most, "seed" => seed }
        Plain.symbolize(call("faithfulness", params, timeout: nil))
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
