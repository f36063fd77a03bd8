# frozen_string_literal: true

require "shellwords"

module Transfer
  class CLI
    # Results in words: metrics and sizes in, lines of text out.
    module Report
      # What inputs are called, by modality.
      NOUNS = { image: "photos", text: "texts", table: "rows" }.freeze

      class << self
        # @param summary [Hash{Symbol => Object}] a model summary
        # @param seconds [Float] what the training took
        # @return [Array<String>]
        def training(summary, seconds)
          [*held_out(summary), "#{nouns(summary).capitalize}: #{parts(summary)}; took #{format('%.1f', seconds)} s",
           *warnings(summary)]
        end

        # @param summary [Hash{Symbol => Object}] a model summary
        # @return [String] how many examples there were, in which parts: `30, train 20, valid 4, test 6`
        def parts(summary)
          data = summary.fetch(:data, {})
          return words(summary[:sizes]) if data.empty?

          parts = data[:parts].map { |part| "#{part[:name]} #{part[:examples]}" }
          fitted = "#{data[:fitted]} fitted"
          fitted += ", #{data[:calibrated]} calibrated on (#{data[:calibrated_by]})" if data[:calibrated].positive?
          "#{parts.join(' + ')} = #{data[:examples]}; #{fitted}, #{data[:measured]} measured"
        end

        # @param summary [Hash{Symbol => Object}] a model summary
        # @return [Array<String>] the warnings of the training
        def warnings(summary) = summary[:warnings].map { |message| "Warning: #{message}" }

        # @param summary [Hash{Symbol => Object}] a model summary
        # @return [Array<String>] how good it was on what it never saw
        def held_out(summary) = metrics(summary[:metrics], "#{nouns(summary)} it never saw")

        # @param photos [String] what was measured on
        # @return [Array<String>] the few numbers that tell whether a model is any good
        def metrics(metrics, photos)
          return ["Nothing was held out, so it was not measured"] if metrics.empty?

          photos = "#{metrics[:examples]} #{photos}"
          return labels(metrics, photos) if metrics.key?(:mean_average_precision)

          metrics.key?(:accuracy) ? classification(metrics, photos) : regression(metrics, photos)
        end

        # @return [Array<String>] whether sets or intervals keep what they promise, if there was enough to make them
        def promises(metrics)
          found = metrics[:conformal] or return []
          low, high = found[:interval].map { |share| percent(share) }
          what = found[:mean_size] ? "Sets of #{format('%.1f', found[:mean_size])} on average" : "Intervals"
          ["#{what} at a level of #{percent(found[:level])}: " \
           "the truth is in #{percent(found[:coverage])} (95 % interval #{low} to #{high})"]
        end

        # @param file [String] where the model is
        # @return [Array<String>]
        def saved(file)
          ["Saved #{file} (#{Amounts.size(File.size(file))})",
           "Next: transfer predict #{Shellwords.escape(file)} INPUT"]
        end

        # @return [Array<Array(String, String)>] what a model file says about itself
        def facts(file, summary)
          labels, versions = summary.values_at(:labels, :versions)
          [["file", "#{file} (#{Amounts.size(summary[:bytes])})"], ["task", summary[:task]],
           ["labels", labels.join(", ")], ["backbone", summary[:backbone]], ["made", summary[:created_at]],
           [nouns(summary), parts(summary)], ["versions", words(versions)]]
        end

        # @param photos [String] what inputs are called
        # @return [String, nil] precision, recall, F1 and count of each class or label as a table
        def per_class(metrics, photos)
          return table(metrics[:per_class], "class", %i[precision recall f1], photos) if metrics[:per_class]

          columns = %i[average_precision precision recall f1 threshold]
          table(metrics[:per_label], "label", columns, photos) if metrics[:per_label]
        end

        # @return [String] `91.2 %`
        def percent(share) = format("%.1f %%", share * 100)

        private

        def classification(metrics, photos)
          baseline, f1, balanced = metrics.values_at(:baseline, :macro_f1, :balanced_accuracy)
          lines = ["Accuracy on #{photos}: #{percent(metrics[:accuracy])}" \
                   "#{interval(metrics, :accuracy) { |share| percent(share) }}",
                   "Balanced accuracy: #{percent(balanced)}, macro-F1: #{format('%.3f', f1)}",
                   "Always answering \"#{baseline[:label]}\" would give: #{percent(baseline[:accuracy])}",
                   *words_alone(metrics)]
          confused = metrics[:most_confused].map { |pair| "#{pair[:truth]} as #{pair[:predicted]} (#{pair[:count]})" }
          confused.empty? ? lines : lines << "Most confused: #{confused.join(', ')}"
        end

        # What a model of texts must beat.
        def words_alone(metrics)
          return [] unless metrics.key?(:tfidf_accuracy)

          accuracy, f1 = metrics.values_at(:tfidf_accuracy, :tfidf_macro_f1)
          ["TF-IDF and logistic regression give: #{percent(accuracy)}, macro-F1: #{format('%.3f', f1)}"]
        end

        def regression(metrics, photos)
          ["Mean absolute error on #{photos}: #{short(metrics[:mae])}" \
           "#{interval(metrics, :mae) { |value| short(value) }}",
           "Always answering the mean would give: #{short(metrics[:baseline][:mae])}",
           "R2 #{short(metrics[:r2])}, root mean squared error #{short(metrics[:rmse])}"]
        end

        def labels(metrics, photos)
          shares = metrics.values_at(:micro_f1, :macro_f1, :exact_match).map { |share| percent(share) }
          ["Mean average precision on #{photos}: #{percent(metrics[:mean_average_precision])}" \
           "#{interval(metrics, :mean_average_precision) { |share| percent(share) }}",
           "Giving all the same labels would reach: #{percent(metrics[:baseline][:mean_average_precision])}",
           "Micro-F1 #{shares[0]}, macro-F1 #{shares[1]}, all labels right #{shares[2]}"]
        end

        def table(rows, first, columns, photos)
          cells = rows.map do |row|
            [row[:label], *row.values_at(*columns).map { |score| format("%.3f", score) }, row[:support]]
          end
          Table.render([[first, *columns.map { |name| name.to_s.tr("_", " ") }, photos], *cells])
        end

        def nouns(summary) = NOUNS.fetch(summary.fetch(:modality, "image").to_sym)

        def words(hash) = hash.map { |pair| pair.join(" ") }.join(", ")

        def interval(metrics, name)
          low, high = metrics.dig(:intervals, name)
          low ? " (95 % interval #{yield low} to #{yield high})" : ""
        end

        def short(number) = format("%.4g", number)
      end
    end
    private_constant :Report
  end
end
