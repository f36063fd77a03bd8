# frozen_string_literal: true

module Transfer
  module Rails
    # Helpers of the dashboard's views.
    module FrontendHelper
      def frontend_file(name) = frontend_path(version: FrontendController::VERSION, name:)

      # @return [String] such as `87.5 %`
      def percent(value) = value.nil? ? "–" : number_to_percentage(100 * value, precision: 1, format: "%n %")

      # @return [String] a badge with a state
      def state_of(word) = tag.span(t("transfer.states.#{word}", default: word), class: "state #{word}")

      # @return [String] a `time` element
      def moment(time) = time ? tag.time(l(time, format: :short), datetime: time.iso8601) : "–"

      # @param record [ActiveRecord::Base]
      # @return [Boolean] whether the dashboard can show its input as a picture
      def picture?(record, name)
        file = record&.class.try(:reflect_on_attachment, name) && record.public_send(name)
        file&.attached? && PicturesController::TYPES.include?(file.blob.content_type)
      end

      # @param held [Example, Prediction]
      # @param use [Uses, nil] that of its record
      # @return [String] its picture, or the beginning of its text or row
      def input_of(held, use, name:, length: 200, **picture)
        return "–" unless use && held.record

        from = use.options.from
        picture = { alt: "", loading: "lazy", src: model_picture_path(name, picture_id(held)), **picture }
        return tag.img(**picture) if picture?(held.record, from)

        tag.blockquote(Array(from).map { |column| held.record.public_send(column) }.join(" · ").truncate(length))
      end

      # A curve as SVG, without a script.
      # @param values [Array<Float>]
      # @return [String, nil] nil for fewer than two values
      def curve(values, width: 320, height: 80)
        return if values.size < 2

        label = t("transfer.curve", first: values.first.round(3), last: values.last.round(3))
        tag.svg(tag.polyline(points: points(values, width - 8, height - 8), class: "curve"),
                viewBox: "0 0 #{width} #{height}", role: "img", "aria-label": label)
      end

      private

      def picture_id(held) = "#{held.is_a?(Example) ? 'e' : 'p'}#{held.id}"

      def points(values, width, height)
        low, high = values.minmax
        scale = height / [high - low, 1e-12].max
        values.each_with_index.map do |value, i|
          format("%.1f,%.1f", 4 + (width * i.fdiv(values.size - 1)), 4 + (scale * (high - value)))
        end.join(" ")
      end
    end
  end
end
