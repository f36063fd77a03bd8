# frozen_string_literal: true

module Transfer
  module Prediction
    # The objects in a photo.
    #
    # @example
    #   found = model.predict("street.jpg")
    #   found["stop"].each { |box| puts "#{box.score} at #{box.x}, #{box.y}" }
    #   found.draw("street-found.png")
    class Detection < ::Data.define(:boxes, :width, :height)
      include Prediction

      # A box around one object, in pixels of the upright photo.
      class Box < ::Data.define(:label, :score, :x, :y, :width, :height, :outer)
        include ValueObject

        # @!attribute [r] label
        #   @return [String] the class
        # @!attribute [r] score
        #   @return [Float] the probability that it is right, 0 to 1
        # @!attribute [r] x
        #   @return [Float] the left edge
        # @!attribute [r] y
        #   @return [Float] the top edge
        # @!attribute [r] width
        #   @return [Float]
        # @!attribute [r] height
        #   @return [Float]
        # @!attribute [r] outer
        #   @return [Hash{Symbol => Float}, nil] `x`, `y`, `width` and `height` of a box that contains the whole object
        #     with the coverage `level:`

        # @return [Hash{Symbol => Object}] the attributes that are not nil
        def to_h = super.compact

        def to_s = "#{label} #{format('%.3f', score)}"
      end

      # @!attribute [r] boxes
      #   @return [Array<Box>] the highest score first; may be empty
      # @!attribute [r] width
      #   @return [Integer] of the upright photo
      # @!attribute [r] height
      #   @return [Integer] of the upright photo

      # @param boxes [Array<Box, Hash>]
      # @param width [Integer]
      # @param height [Integer]
      # @param image [String, nil] the photo on the wire, for {#draw}
      def initialize(boxes:, width:, height:, image: nil)
        @image = image&.dup.freeze
        boxes = boxes.map do |box|
          box.is_a?(Box) ? box : Box.new(outer: nil, **Plain.symbolize(box).slice(*Box.members))
        end
        super(boxes:, width:, height:)
      end

      # @return [Array<String>] the classes in the photo, the one with the highest score first
      def labels = boxes.map(&:label).uniq

      # @return [Integer] the number of boxes
      def count = boxes.size

      # @param label [String]
      # @return [Array<Box>] the boxes of a class
      def [](label) = boxes.select { |box| box.label == label.to_s }

      # Draws the boxes on the photo and writes it to a file. For an exported model where there is no Python: rectangles
      # without labels, as PNG.
      #
      # @param file [String, Pathname] .png, .jpg or .webp
      # @param image [String, Pathname, #read, nil] the photo, if it is not the one that was given to {Model#predict}
      # @return [Pathname] the file
      # @raise [DataError] if the photo can't be read any more or has another size
      def draw(file, image: nil)
        image = image ? Input.wire(image, "image") : @image
        raise ArgumentError, "the photo of this prediction is not known. Fix: draw(file, image: …)" unless image

        params = { "image" => image, "prediction" => plain, "path" => Input.path(file.to_s) }
        Pathname.new(Bridge.call("draw", params).fetch("path"))
      end

      # @return [Hash{Symbol => Object}] the attributes, with boxes as Hashes
      def to_h = { boxes: boxes.map(&:to_h), width:, height: }

      def to_s = boxes.join(", ")

      private

      def plain = { "boxes" => boxes.map { |box| box.as_json.except("outer") }, "width" => width, "height" => height }

      def summary = boxes.empty? ? "no object" : boxes.join(", ")
    end
  end
end
