# frozen_string_literal: true

require_relative "drawing"

module Transfer
  module Onnx # rubocop:disable Style/Documentation
    # Predicted boxes from the outputs of a detector's graph.
    module Boxes
      # Rows that a graph returns.
      MOST = 100
      private_constant :MOST

      class << self
        # @param description [Description]
        # @param outputs [Hash{String => Array<Numeric>}] of one image
        # @param size [Array(Integer, Integer)] its width and height
        # @param margin [Float, nil] share of the sides by which `outer` boxes are larger
        # @return [Hash{String => Object}] a plain prediction (docs/reference/protocol.md)
        def of(description, outputs, size, margin)
          corners, classes, scores = outputs.values_at("corners", "classes", "scores")
          boxes = corners.each_slice(4).zip(classes, scores).map do |sides, kind, score|
            box = { "label" => description.labels.fetch(kind), **extent(sides), "score" => score }
            margin ? { **box, "outer" => extent(grown(sides, margin, size)) } : box
          end
          { "boxes" => boxes, "width" => size[0], "height" => size[1] }
        end

        # @param outputs [Hash{String => Value}]
        # @param classes [Integer] that the model has
        # @return [Boolean] whether the shapes and classes fit
        def fit?(outputs, classes)
          corners, kinds, scores = outputs.values_at("corners", "classes", "scores")
          count = scores.shape.first
          scores.shape.size == 1 && count <= MOST && kinds.shape == [count] && corners.shape == [count, 4] &&
            kinds.to_a.all? { |kind| kind.between?(0, classes - 1) }
        end

        private

        def extent((left, top, right, bottom))
          { "x" => left, "y" => top, "width" => right - left, "height" => bottom - top }
        end

        def grown((left, top, right, bottom), margin, (width, height))
          across = margin * (right - left)
          down = margin * (bottom - top)
          [[left - across, 0.0].max, [top - down, 0.0].max,
           [right + across, width.to_f].min, [bottom + down, height.to_f].min]
        end
      end
    end
    private_constant :Boxes
    Prediction::Detection.prepend(Drawing::WithoutPython)
  end
end
