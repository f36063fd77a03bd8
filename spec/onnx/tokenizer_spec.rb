# frozen_string_literal: true

# Hugging Face's tokenizers are the reference.
RSpec.describe "Tokenizers in Ruby", :folder do
  before(:context) { Exported.write("odd_texts", @folder, RSpec.configuration.seed, 80) }

  let(:tokenizer) { Exported.const_get(:Tokenizer) }

  def right?(reader, input, wanted)
    return reader.pair(*input) == wanted.first if input.is_a?(Array)

    reader.windows(input) == wanted && reader.one(input) == wanted.first
  end

  def build(name, max_length) = tokenizer.new(File.read("#{@folder}/#{name}.json"), max_length)

  it "give the ids and types of Hugging Face's for random Unicode, pairs, long texts and special tokens" do
    cases = JSON.parse(File.read("#{@folder}/cases.json"))
    expect(cases.size).to be >= 14
    made = Hash.new { |known, (name, length)| known[[name, length]] = build(name, length) }
    wrong = cases.flat_map do |name, some|
      some.filter_map do |length, input, wanted|
        "#{name} #{length} #{input.inspect}" unless right?(made[[name, length]], input, wanted)
      end
    end
    expect(wrong.first(3)).to eq([])
  end

  it "give the tokens of Hugging Face's, and their text" do
    cases = JSON.parse(File.read("#{@folder}/decoded.json"))
    wrong = cases.flat_map do |name, some|
      reader = build(name, 512)
      some.filter_map do |text, tokens, ids, decoded|
        found = [name == "decoded_words" ? tokens : reader.pieces(text), reader.text(ids)]
        [name, text, ids, decoded, found] unless found == [tokens, decoded]
      end
    end
    expect(wrong.first(2)).to eq([])
  end

  it "are refused with a reason if they are damaged, or have an unknown part" do
    json = JSON.parse(File.read("#{@folder}/bert_True.json"))
    { "its tokenizer.json, which is damaged" => "{}",
      "its normalizer New" => { **json, "normalizer" => { "type" => "New" } },
      "its pre-tokenizer New" => { **json, "pre_tokenizer" => { "type" => "New" } },
      "its model New" => { **json, "model" => { "type" => "New" } },
      "its decoder New" => { **json, "decoder" => { "type" => "New" } },
      "its post-processor New" => { **json, "post_processor" => { "type" => "New" } } }.each do |message, content|
      content = JSON.generate(content) unless content.is_a?(String)
      expect { tokenizer.new(content, 16).text([]) }.to raise_error(tokenizer::Unsupported, message)
    end
  end

  it "divide a word of a hundred thousand characters" do
    expect(build("roberta", 512).one("ab" * 50_000).first.size).to eq(512)
  end
end
